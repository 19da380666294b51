#!/bin/sh
# Makes the secrets that Docker Compose gives to the containers: infrastructure/secrets/, once. What exists stays as it is.
# The directory is closed (0700); the files in it are readable, because containers read them as users of their own.
set -eu
umask 077
directory="$(dirname "$0")/secrets"
mkdir -p "$directory"
chmod 700 "$directory"

random() {
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

keep_or_make() {
    if [ ! -s "$directory/$1" ]; then
        printf '%s\n' "$2" > "$directory/$1.new"
        chmod 444 "$directory/$1.new"
        mv "$directory/$1.new" "$directory/$1"
        echo "[OK] made $directory/$1"
    fi
}

keep_or_make postgres_password "$(random)"
keep_or_make tds_new_password "$(random)"
keep_or_make secret_key "$(random)"
keep_or_make database_url "postgres://tds_new:$(cat "$directory/tds_new_password")@db:5432/tds_new"
echo "[OK] secrets are in $directory"
