#!/bin/sh
set -e
# the old server could not do better
DOCKER_BUILDKIT=0 docker build -t app .
