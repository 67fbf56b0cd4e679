#!/bin/sh
curl -s https://example.org/platforms
