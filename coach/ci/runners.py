"""What the label of a CI machine says about it.

Sources (read 2026-11): docs.github.com/actions/reference/runners/github-hosted-runners,
docs.gitlab.com/ci/runners/hosted_runners/linux, circleci.com/docs/configuration-reference (resource classes),
depot.dev/docs/github-actions/runner-types, docs.blacksmith.sh, namespace.so/docs, warpbuild.com/docs.
"""

from __future__ import annotations

import re

_ARM = re.compile(
    r"(^|[^a-z0-9])(arm|arm64|aarch64|armv8|graviton\d?|ampere|altra|t4g|m[678]g|c[678]g)([^a-z0-9]|$)|arm64", re.I
)
_HOSTED = re.compile(r"^(ubuntu|windows|macos)-(latest|\d[\d.]*|slim)(-arm|-arm64|-xlarge|-large|-intel)?$", re.I)
_HOSTED_LARGER = re.compile(r"^(ubuntu|windows|macos)-.*(core|cores|large|xlarge|\d+x\d+|gb|arm)", re.I)
_RENTED = re.compile(
    r"^(depot|blacksmith|warp|buildjet|ubicloud|nscloud|namespace|runs-on|cirun|actuated|latchkey|gha-runner)[-=/ ]",
    re.I,
)


def is_arm(label: str) -> bool:
    """Whether the machine's name says that it is an arm64 one."""
    return _ARM.search(label) is not None


def is_self_hosted(label: str) -> bool | None:
    """Whether the machine belongs to the project (and may outlive a job); ``None`` for a name that does not say."""
    labels = [part.strip().lower() for part in label.split(",")]
    if "self-hosted" in labels:
        return True
    if any(_HOSTED.match(part) or _HOSTED_LARGER.match(part) or _RENTED.match(part) for part in labels):
        return False
    return None
