#!/bin/sh
while :; do git -C /opt/blocklists pull; sleep 3600; done
