#!/bin/sh
set -e
until curl -fs "$DB_HEALTH" > /dev/null; do
    sleep 1
done
python manage.py migrate --noinput
exec "$@"
