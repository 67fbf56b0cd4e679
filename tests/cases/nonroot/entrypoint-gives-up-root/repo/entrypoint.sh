#!/bin/sh
set -e
chown -R shop /data
exec su-exec shop "$@"
