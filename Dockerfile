# The image of web, consumer and setup. Build: docker compose -f infrastructure/docker-compose.yml build

# --- the chart library, at the version and hash of package-lock.json ---------------------------------------------------------
FROM node:22.20.0-bookworm-slim AS charts
WORKDIR /charts
COPY package.json package-lock.json ./
# The source map is not shipped, and a name of a file that is not there stops collectstatic.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund && sed -i '/^\/\/# sourceMappingURL=/d' node_modules/chart.js/dist/chart.umd.js

# --- Python packages and compiled translations -------------------------------------------------------------------------------
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /venv
COPY requirements.txt /tmp/requirements.txt
RUN /venv/bin/pip install --require-hashes --only-binary :all: -r /tmp/requirements.txt
WORKDIR /app
COPY manage.py ./
COPY prj_tds_new ./prj_tds_new
COPY tds_new ./tds_new
COPY --from=charts /charts/node_modules/chart.js/dist/chart.umd.js ./tds_new/static/tds_new/vendor/chart.umd.js
# Neither command needs a database or a real key: nothing of these two values stays in the image.
RUN SECRET_KEY=only-for-this-command-of-the-image-build DATABASE_URL=postgres://build@127.0.0.1:9/build \
    sh -c '/venv/bin/python manage.py compile_translations && /venv/bin/python manage.py collectstatic --no-input --verbosity 0'

# --- the runtime image --------------------------------------------------------------------------------------------------------------
FROM python:3.11.14-slim-bookworm
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DJANGO_SETTINGS_MODULE=prj_tds_new.settings
RUN groupadd --gid 10001 tds-new && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin tds-new
WORKDIR /app
COPY --from=build /venv /venv
COPY --from=build /app ./
COPY infrastructure/gunicorn.conf.py ./infrastructure/gunicorn.conf.py
USER 10001:10001
EXPOSE 8000
CMD ["gunicorn", "--config", "infrastructure/gunicorn.conf.py", "--bind", "0.0.0.0:8000", "prj_tds_new.wsgi"]
