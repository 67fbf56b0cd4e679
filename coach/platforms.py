"""On which machine each stage of a multi-platform build does its work."""

from __future__ import annotations

import re
from dataclasses import dataclass

from coach import images
from coach.dockerfile import Stage
from coach.model import BuildSite
from coach.site import Run, Site
from coach.steps import Action

_ARM_RUNNER = re.compile(
    r"(?:^|[^a-z])(?:arm(?:64)?|aarch64|graviton|ampere|t4g|[mcr][678]g|macos-1[4-9])(?:[^a-z]|$)", re.I
)
_TARGETS = re.compile(
    r"TARGET(?:ARCH|PLATFORM|OS|VARIANT)|\bGOARCH\b|\bxx-(?:go|cargo|clang|info|apt|apk)|cargo-zigbuild"
    r"|--target[= ]\S*(?:aarch64|linux)|npm_config_arch|--arch[= ]|(?:^|\s)-a\s+\$|linux-arm64|aarch64-unknown"
)
_COMPILERS = frozenset("gcc g++ cc clang make cmake ninja meson bazel configure rustc javac tsc webpack vite".split())
_LIGHT = frozenset(
    (
        "apk apt-get apt apt-mark apt-cache dnf yum microdnf tdnf zypper rpm dpkg dpkg-reconfigure rm mkdir chmod "
        "chown chgrp adduser addgroup useradd groupadd usermod groupmod deluser getent id passwd ln cp mv touch "
        "install echo printf cat set true : test [ [[ sed tee tar gzip unzip curl wget gpg find xargs sort head "
        "tail grep locale-gen localedef ldconfig update-ca-certificates setcap cd export exit trap sh bash date "
        "a2enmod a2dismod a2ensite a2dissite a2enconf a2disconf phpenmod phpdismod apt-mark apt-cache dpkg egrep "
        "which command truncate sha256sum uname ls cut tr awk mktemp basename dirname env sleep tini unlink "
    ).split()
)
# Builders that give every platform a machine of its own kind, by how `keeps_cache` names them.
_NATIVE_BUILDERS = re.compile(r"depot|build cloud|blacksmith|namespace|kubernetes|remote", re.I)


@dataclass(frozen=True)
class Heavy:
    """A RUN that installs or compiles, and whether it runs on the builder's own platform."""

    run: Run
    says: str
    pinned: bool
    guarded: bool = False  # it stands behind a condition, and may not run


def builds_arm(build: BuildSite) -> bool:
    """Whether a build makes an arm64 image, by its platforms or, without any, by the machine it runs on."""
    if build.platforms:
        return any(re.fullmatch(r"(?:linux/)?(?:arm64|aarch64)(?:/v8)?", platform) for platform in build.platforms)
    return on_arm(build)


def on_arm(build: BuildSite) -> bool:
    """Whether the build runs on an arm64 machine."""
    return bool(_ARM_RUNNER.search(build.runner))


def native_builder(build: BuildSite) -> bool:
    """Whether the builder is one that has arm64 machines of its own."""
    return bool(_NATIVE_BUILDERS.search(f"{build.keeps_cache} {build.driver} {build.tool}"))


def pinned(site: Site, stage: Stage) -> bool:
    """Whether a stage runs on the platform of the builder, whatever platform is asked for."""
    root = site.graph.chain(stage)[0]
    platform = root.platform or ""
    return "BUILDPLATFORM" in platform or ("$" not in platform and "amd64" in platform)


def heavy(site: Site) -> tuple[Heavy, ...]:
    """Every RUN whose work takes long under emulation: language installs and compilers, not OS packages."""
    found: list[Heavy] = []
    for run in site.runs:
        steps = [step for step in run.steps if step.action not in (Action.OS, Action.TOOL)]
        step = next((step for step in steps if not step.command.guarded), steps[0] if steps else None)
        if step is not None:
            words = " ".join(word or "…" for word in step.command.words)
            found.append(Heavy(run, f"`{words[:60]}`", pinned(site, run.stage), step.command.guarded))
            continue
        compiler = next((command.name for command in run.script.commands if command.name in _COMPILERS), None)
        if compiler is not None:
            found.append(Heavy(run, f"`{compiler}`", pinned(site, run.stage)))
    return tuple(found)


def light(run: Run) -> bool:
    """Whether a RUN is known to do nothing that takes long: OS packages, users, files."""
    if any(step.action not in (Action.OS, Action.TOOL) for step in run.steps) or run.script.broken:
        return False
    known = {step.command.start for step in run.steps}
    return all(command.name in _LIGHT or command.start in known for command in run.script.commands)


def strangers(run: Run) -> tuple[str, ...]:
    """Programs that a RUN starts and of which nothing is known, in order."""
    known = {step.command.start for step in run.steps}
    names = (command.name for command in run.script.commands if command.start not in known)
    return tuple(name for name in names if name is not None and name not in _LIGHT | _COMPILERS)


def triggers(site: Site) -> str:
    """The unknown image that the final stage is all made of, "" when it does something itself.

    What such an image is for stands in its ONBUILD instructions, and they are not here.
    """
    stage = site.final
    image = site.graph.image(stage)
    if image == "scratch" or site.graph.parent(stage) is not None or (image and images.lookup(image)):
        return ""
    own = any(item.name in ("RUN", "COPY", "ADD", "CMD", "ENTRYPOINT") for item in stage.body)
    return "" if own else image or stage.base


def names_target(site: Site, stage: Stage) -> bool:
    """Whether a stage on the builder's platform asks for the platform it builds for."""
    texts = (site.dockerfile.text(item.line, item.end_line) for part in site.graph.chain(stage) for item in part.body)
    return any(_TARGETS.search(text) for text in texts)
