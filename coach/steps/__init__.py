"""What a RUN installs, fetches and compiles, where each tool keeps its cache, and what defeats that cache.

Everything about a package manager comes from ``coach/knowledge/managers``. Files of the repository that a command runs
(a Makefile, a shell script, a script of package.json) are followed through ``look``.
"""

from coach.steps.call import program
from coach.steps.nouns import Action, CacheDir, Fight, Hidden, Look, PackageStep
from coach.steps.survey import hidden, settings, steps

__all__ = [
    "Action",
    "CacheDir",
    "Fight",
    "Hidden",
    "Look",
    "PackageStep",
    "hidden",
    "program",
    "settings",
    "steps",
]
