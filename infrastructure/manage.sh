#!/bin/sh
# A management command with the settings and secrets of an installation by systemd units, for root:
#   /opt/tds-new/infrastructure/manage.sh migrate
set -eu
set -a
. "${TDS_ETC:=/etc/tds-new}/env"
set +a
export SECRET_KEY_FILE="$TDS_ETC/secrets/secret_key" DATABASE_URL_FILE="$TDS_ETC/secrets/database_url" PYTHONDONTWRITEBYTECODE=1
if [ -r "$TDS_ETC/secrets/mqtt_password" ]; then
    export MQTT_BROKER_PASSWORD_FILE="$TDS_ETC/secrets/mqtt_password"
fi
cd "$(dirname "$0")/.."
exec .venv/bin/python manage.py "$@"
