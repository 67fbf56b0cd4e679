"""coach: says why a Docker build is slow, big or leaky, and hands over a patch."""

__version__ = "0.1.0"
