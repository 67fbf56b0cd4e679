#!/bin/sh
exec ./target/release/shop
