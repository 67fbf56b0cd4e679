"""Durations and sizes as build logs write them."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGTP]?)(i?)B")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)(s|ms|µs|us|ns))?$")
_UNITS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}


def size(text: str) -> int | None:
    """Bytes of ``6.00MB``, ``195.08kB``, ``2B``, ``1.5MiB``."""
    found = _SIZE.match(text)
    if found is None:
        return None
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** " kMGTP".index(found[2].replace("K", "k") or " "))


def duration(text: str) -> float | None:
    """Seconds of a Go duration: ``70.886µs``, ``1m2.3s``, ``22.5s``."""
    found = _DURATION.match(text.strip())
    if found is None or not text.strip():
        return None
    hours, minutes, number, unit = found.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + (float(number) * _UNITS[unit] if number else 0.0)
