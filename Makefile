# make run         run everything on this machine: PostgreSQL, broker, consumer, web server, simulated gateways
# make test        run all checks and the whole test suite; it names the 20 slowest tests
# make test-fast   run the tests that need no server (no database, no broker, no browser), in under a minute
# make lint        run the checks alone
# make audit       look for known vulnerabilities in the requirements, and for secrets in the files
# make lock        pin the requirements again
# make clean       remove what the other targets made, except the data of `make run`
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
CHART := tds_new/static/tds_new/vendor/chart.umd.js
CATALOGS := $(patsubst %.po,%.mo,$(wildcard tds_new/locale/*/LC_MESSAGES/*.po))
# The scripts of the pages are checked and tested where node 18 or later and npm are; elsewhere that is skipped and said.
NODE := $(shell node -e 'process.exit(+(process.versions.node.split(".")[0] < 18))' 2> /dev/null && npm --version 2> /dev/null)
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes
# In the suite's own order, the longest files first; xdist would start those with few tests last.
PYTEST := $(PY) -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder --quiet
SLOWEST := --durations=20 --durations-min=1
# The checks read the settings, but no database and nothing of yours.
CHECK := SECRET_KEY=only-for-the-checks-of-this-source-code DATABASE_URL=postgres://check@127.0.0.1:9/check

.PHONY: run test test-fast install lint audit lint-js test-js test-plain test-browser test-timescale lock clean

run: $(VENV)/.run $(CHART) $(CATALOGS)
	@exec $(PY) manage.py demo --die-with-parent

test: install lint test-js test-plain test-browser test-timescale

test-fast: install test-js
	$(PYTEST) -m "not servers and not lab" --ignore=tests/browser

install: $(VENV)/.run $(VENV)/.dev $(CHART) $(CATALOGS)

lint: install lint-js
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(CHECK) $(PY) -m mypy

# In an environment of its own: what it installs stays out of the product's.
audit: build/audit/.installed
	build/audit/bin/python tools/audit.py

build/audit/.installed: requirements/audit.txt | $(PY)
	@$(PY) -m venv build/audit
	build/audit/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

ifneq ($(NODE),)
lint-js: node_modules/.installed
	@if [ -e node_modules/.installed ]; then npm run --silent check; fi

test-js:
	@npm test --silent

# A registry that does not answer stops nothing else: make then tries again the next time.
node_modules/.installed: package.json package-lock.json
	@if npm ci --ignore-scripts --no-audit --no-fund --silent; then touch $@; else \
	  rm -f $@; echo "[WARN] lint-js is skipped: npm ci failed"; fi
else
lint-js test-js:
	@echo "[WARN] $@ is skipped: it needs node 18 or later and npm (on Debian and Ubuntu: apt install nodejs npm)"
endif

test-plain: install
	$(PYTEST) $(SLOWEST) --database=plain --ignore=tests/browser

# One process, because a browser beside the tests that kill servers runs into its time limits. Twice in some hundreds
# of page loads a page did not answer at all, for a reason not found yet: only that is repeated, and shown as a rerun.
test-browser: install
	$(PY) -m pytest --quiet $(SLOWEST) --database=plain --reruns=2 --only-rerun="Timeout .*ms exceeded" tests/browser

test-timescale: install
	$(PYTEST) $(SLOWEST) --database=timescale --ignore=tests/browser

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "[ERROR] $(PYTHON) is older than Python 3.11; name another with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "[ERROR] $(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.run: requirements.txt requirements/embedded.txt | $(PY)
	$(PIP) --requirement requirements.txt --requirement requirements/embedded.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	$(PIP) --requirement requirements/dev.txt
	@touch $@

$(CHART): tools/assets.py package-lock.json requirements/assets.txt | $(PY)
	@$(PY) tools/assets.py
	@touch $@

%.mo: %.po tds_new/catalog.py | $(VENV)/.run
	@$(PY) -c 'import sys; from pathlib import Path; from tds_new.catalog import compile_catalog; compile_catalog(*map(Path, sys.argv[1:]))' $< $@

LOCK := compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock"
lock: | $(PY)
	@$(PYTHON) -m venv build/uv && build/uv/bin/pip install --quiet --disable-pip-version-check uv
	build/uv/bin/uv pip $(LOCK) requirements/base.in --output-file requirements.txt
	for name in embedded asgi dev audit; do build/uv/bin/uv pip $(LOCK) requirements/$$name.in --output-file requirements/$$name.txt || exit 1; done

# It leaves var/: that is the data of `make run`.
clean:
	rm -rf $(VENV) node_modules build staticfiles .pytest_cache .mypy_cache .ruff_cache .hypothesis $(CHART) $(CATALOGS)
	find tds_new prj_tds_new lab tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
