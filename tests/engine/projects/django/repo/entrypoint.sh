#!/bin/sh
set -e

if [ "$WAIT_FOR_DB" = "1" ]; then
    echo "waiting"
    sleep 5
fi

python manage.py migrate --noinput
exec "$@"
