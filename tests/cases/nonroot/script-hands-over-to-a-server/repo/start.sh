#!/bin/sh
set -e
mkdir -p "$DATA_PATH"
exec "$@"
