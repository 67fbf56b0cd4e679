"""What the readers of build configuration say to each other and to the lessons."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from coach.model import BuildSite, Skipped

WORKSPACE = "/github/workspace"
"""Stands for the directory a CI job checks the repository out into, whatever it is really called."""

MAX_SCRIPT = 256 * 1024
"""Bytes of a script beyond which it is not read."""

CI_FILE = re.compile(
    r"\.(?:github|gitea|forgejo)/workflows/[^/]+\.ya?ml|(?:.*/)?\.gitlab-ci\.ya?ml|\.circleci/config\.ya?ml|\.buildkite/.+"
    r"|\.?azure-pipelines[^/]*\.ya?ml|\.drone\.ya?ml|\.woodpecker(?:/[^/]+)?\.ya?ml|\.travis\.ya?ml|(?:.*/)?Jenkinsfile[^/]*"
    r"|bitbucket-pipelines\.ya?ml|cloudbuild[^/]*\.ya?ml|buildspec[^/]*\.ya?ml|\.semaphore/.+\.ya?ml|\.tekton/.+\.ya?ml"
    r"|\.cirrus\.ya?ml|appveyor\.ya?ml|\.gitlab/.+\.ya?ml|\.teamcity/.+"
)
"""Paths of files that tell a CI system what to do, those of systems that nobody reads here included."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """Every build that was found, and every file that could not be read. Both in a stable order."""

    builds: tuple[BuildSite, ...] = ()
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildkitOn:
    """Build with BuildKit."""


@dataclass(frozen=True, slots=True)
class AddCache:
    """Keep the layer cache between jobs. ``scope`` tells the caches of several images apart ("" for one image)."""

    multi_stage: bool = True
    scope: str = ""


@dataclass(frozen=True, slots=True)
class DropNoCache:
    """Stop switching the layer cache off."""


@dataclass(frozen=True, slots=True)
class SecretArgs:
    """Hand build arguments over as secrets: ``names`` maps the argument's name to the secret's id."""

    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign the pushed image by digest."""


@dataclass(frozen=True, slots=True)
class NativeArm:
    """Build arm64 on an arm64 machine."""


Want = BuildkitOn | AddCache | DropNoCache | SecretArgs | Sign | NativeArm


@dataclass(frozen=True, slots=True)
class Value:
    """A piece of configuration after everything static has been filled in.

    ``text`` is ``None`` when something in it is decided at run time; ``shown`` then still holds the static pieces,
    with the open ones left as they are written. ``options`` are the texts it can have, when they can be counted.
    """

    text: str | None
    shown: str = ""
    why: str = ""
    secret: bool = False
    per_commit: bool = False
    options: tuple[str, ...] = ()
    condition: str = ""


def static(text: str) -> Value:
    """A value that is just what is written."""
    return Value(text, text)


_PER_COMMIT = re.compile(
    r"""\b(
      GITHUB_(SHA|RUN_ID|RUN_NUMBER) | CI_COMMIT_(SHA|SHORT_SHA|TIMESTAMP) | CI_(PIPELINE|JOB)_I?ID
    | CIRCLE_(SHA1|BUILD_NUM) | BITBUCKET_(COMMIT|BUILD_NUMBER) | BUILD_(SOURCEVERSION|BUILDID|BUILDNUMBER)
    | Build\.(SourceVersion|BuildId|BuildNumber) | TRAVIS_(COMMIT|BUILD_NUMBER) | DRONE_(COMMIT|COMMIT_SHA|BUILD_NUMBER)
    | BUILDKITE_(COMMIT|BUILD_NUMBER) | (SHORT|COMMIT|REVISION)_SHA | GIT_(COMMIT|SHA) | BUILD_NUMBER | COMMIT_SHA
    | CODEBUILD_RESOLVED_SOURCE_VERSION | SEMAPHORE_GIT_SHA
    )\b
    | git\ +rev-parse(?!\ +--(abbrev-ref|show-toplevel)) | git\ +(log|describe|show)\b
    | (?:\$\(|`)\ *date\b
    """,
    re.VERBOSE,
)


def differs_per_commit(text: str) -> bool:
    """Whether a piece of shell or template text takes a value that is new on every commit."""
    return _PER_COMMIT.search(text) is not None
