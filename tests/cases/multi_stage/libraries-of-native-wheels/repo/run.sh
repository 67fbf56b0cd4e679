#!/bin/bash
set -e
# make sure that no gcc is wanted here
if [ "$1" = web ]; then
    exec python shop.py
fi
exec "$@"
