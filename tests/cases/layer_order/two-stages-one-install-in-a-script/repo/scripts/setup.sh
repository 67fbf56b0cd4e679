#!/bin/sh
set -e
pip install -r requirements.txt
python -m compileall -q ferry
