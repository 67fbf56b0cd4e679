#!/bin/sh
set -e
poetry run flask db upgrade
exec poetry run gunicorn shop:app
