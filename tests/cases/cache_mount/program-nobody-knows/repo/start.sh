#!/bin/sh
exec forge serve
