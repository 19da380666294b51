#!/bin/sh
# Runs once, when the database's directory is still empty: the application's own role, which is no superuser, and its database.
set -eu
psql --username postgres --dbname postgres --set ON_ERROR_STOP=1 --set password="$(cat /run/secrets/tds_new_password)" <<'SQL'
CREATE ROLE tds_new LOGIN PASSWORD :'password';
CREATE DATABASE tds_new OWNER tds_new TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C';
\connect tds_new
CREATE EXTENSION IF NOT EXISTS timescaledb;
SQL
