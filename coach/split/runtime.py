"""The runtime stage: what the user's stage says about the container, restated around what is copied."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Sequence

from coach import images
from coach.dockerfile import Instruction
from coach.images import ImageFacts
from coach.model import Edit, Span
from coach.shipped import Shipped, is_compiler, is_fetcher, is_header, os_packages, runtime_library
from coach.site import Run
from coach.split.draft import CannotSplitError, Draft, Split, asked_for, below, plain_words, text_of
from coach.split.starts import called

_RESTATED = ("LABEL", "EXPOSE", "VOLUME", "STOPSIGNAL", "SHELL", "HEALTHCHECK", "ENTRYPOINT", "CMD", "USER")
_BUILD_ENV = re.compile(
    r"CGO_ENABLED|GOOS|GOARCH|GOFLAGS|GOPROXY|GOPRIVATE|GOCACHE|GOPATH|GO111MODULE|DEBIAN_FRONTEND|PIP_\w+|CARGO_\w+|"
    r"RUSTFLAGS|npm_config_\w+|NPM_CONFIG_\w+|CI|HUSKY|NODE_OPTIONS|MAVEN_\w+|GRADLE_\w+|CFLAGS|CXXFLAGS|LDFLAGS|UV_\w+|POETRY_\w+|"
    r"PNPM_HOME|COREPACK_\w+|TURBO_\w+|NX_\w+"
)
_USER_TOOLS = frozenset({"useradd", "adduser", "groupadd", "addgroup", "usermod"})
_FOR_GYP = frozenset({"python3", "python", "python-is-python3", "python3-minimal"})
_OF_THE_COMPILER = frozenset(
    {"musl-dev", "libc6-dev", "libc-dev", "libnode-dev", "python3-dev", "linux-headers", "pkg-config", "pkgconf"}
)
# What brings files to the build and nothing to the program, unless its command calls it.
_FOR_DOWNLOADS = frozenset(
    "ca-certificates curl wget gnupg gnupg2 dirmngr software-properties-common apt-transport-https lsb-release "
    "python3-pip py3-pip pipx".split()
)
_FOR_GIT = frozenset({"openssh-client", "openssh-client-default", "openssh-clients", "openssh", "git-lfs"})
_SAID = ("HEALTHCHECK", "CMD", "ENTRYPOINT")


def assemble(shipped: Shipped, draft: Draft, workdir: str) -> Split:
    """The edits of a whole split. Raises ``CannotSplitError``."""
    site, stage, last = shipped.site, shipped.stage, draft.last
    eol = site.dockerfile.eol
    asked = asked_for(shipped)
    lines = [*draft.before, "", f"FROM {draft.base} AS {asked}" if asked else f"FROM {draft.base}"]
    packages, tool, lost = runtime_packages(shipped)
    facts = images.lookup(site.graph.image(stage) or "" if draft.base == stage.base else draft.base)
    lines += _restated(shipped, last, workdir)
    lines += draft.env
    packages += [name for name in [*draft.packages, *_missing(shipped, facts)] if name not in packages]
    if packages:
        if facts is not None and not facts.shell:
            raise CannotSplitError(f"{', '.join(packages)} must be installed, which {draft.base} cannot do")
        lines += _install(tool, packages, site.dockerfile.escape)
        draft.reasons.append(f"the runtime stage installs {', '.join(packages)}: all that running is known to need")
    if lost:
        draft.reasons.append(f"not installed again: {', '.join(lost)}, whose library may be needed at run time")
    lines += prepared(shipped, last, workdir)
    lines += _other_copies(shipped, draft, workdir)
    lines += [str(take) for take in draft.takes]
    lines += _late(shipped, last)
    text = "\n".join(["", *lines]).encode("utf-8", "surrogateescape").replace(b"\r\n", b"\n").replace(b"\n", eol)
    if asked:
        draft.reasons.append(f"builds that ask for the stage {asked} get the new one, which takes over its name")
    made = Split(list(draft.edits), list(dict.fromkeys(draft.reasons)), draft.says)
    made.edits += _named(shipped, draft)
    made.edits.append(Edit(site.path, Span(last.span.end, last.span.end), text))
    made.edits += _exec_form(shipped, facts, last) if draft.command is None else []
    if facts is not None and facts.user not in (None, "0"):
        made.reasons.append(
            f"{draft.base} runs as uid {facts.user}, not as root: what it writes to must be writable for it"
        )
    return made


def _named(shipped: Shipped, draft: Draft) -> list[Edit]:
    """``AS`` on the FROM of the file, where its name is another one or missing."""
    head, name = shipped.stage.head, shipped.stage.name
    if name == draft.head:
        return []
    if name is None:
        return [Edit(shipped.site.path, Span(head.span.end, head.span.end), f" AS {draft.head}".encode())]
    value = head.value.rstrip()
    start = value.lower().rfind(name.lower())
    return [Edit(shipped.site.path, head.span_of(start, start + len(name)), draft.head.encode())]


def _restated(shipped: Shipped, last: Instruction, workdir: str) -> list[str]:
    """ENV, WORKDIR and what they need, as the build stage has them down to ``last``."""
    site, stage = shipped.site, shipped.stage
    above = [found for found in stage.body if found.span.start < last.span.start]
    kept = [
        found
        for found in above
        if found.name == "ENV" and not all(_only_builds(key, value) for key, value in found.pairs)
    ]
    named = " ".join(found.value for found in kept)
    kept += [found for found in above if found.name == "ENV" and found not in kept and _names_one(found, named)]
    used = " ".join(found.value for found in stage.body if found in kept or found.span.start > last.span.start)
    lines = [
        text_of(shipped, found) for found in above if found in kept or (found.name == "ARG" and _names_one(found, used))
    ]
    own = site.graph.state(stage.body[0]).workdir if stage.body else None
    if any(found.name == "WORKDIR" for found in above) or (own not in (None, "/", "") and own == workdir):
        lines.append(f"WORKDIR {site.graph.state(last).workdir or '/'}")
    return lines


def _only_builds(key: str, value: str | None) -> bool:
    """Whether an ENV matters to a build alone: its tools' settings, and where these look for their programs."""
    if key == "PATH" and re.fullmatch(r"\"?\$\{?PNPM_HOME\}?(?:/bin)?:\$\{?PATH\}?\"?", value or ""):
        return True
    return _BUILD_ENV.fullmatch(key) is not None


def _names_one(found: Instruction, used: str) -> bool:
    """Whether ``used`` refers to a name that an ARG or ENV sets."""
    return any(re.search(rf"\$\{{?{re.escape(key)}\b", used) for key, _ in found.pairs)


def _late(shipped: Shipped, last: Instruction) -> list[str]:
    """What describes the container and stands above ``last``, so that it would be lost."""
    return [
        text_of(shipped, found)
        for found in shipped.stage.body
        if found.name in _RESTATED and found.span.start < last.span.start
    ]


def prepared(shipped: Shipped, last: Instruction, workdir: str) -> list[str]:
    """RUNs that only make users and folders, which the runtime stage needs as well."""
    lines = []
    for run in shipped.runs:
        names = {command.name for command in run.script.commands}
        users = bool(names & _USER_TOOLS)
        if run.instruction.span.start > last.span.start or not (users or "mkdir" in names):
            continue
        if names - _USER_TOOLS - {"mkdir", "chown", "chmod", "set", "true"} or not _stands(run, workdir):
            if users:
                raise CannotSplitError(f"line {run.line} makes a user and does something else as well")
            continue
        lines.append(text_of(shipped, run.instruction))
    return lines


def _stands(run: Run, workdir: str) -> bool:
    """Whether what ``chown`` and ``chmod`` name is there before anything was copied."""
    made = {workdir, "/home", "/opt", "/srv", "/tmp", "/var", "/var/lib", "/var/log", "/var/run", "/run"}  # noqa: S108
    for command in run.script.commands:
        words = [word for word in command.words[1:] if word is not None and not word.startswith("-")]
        places = {posixpath.normpath(posixpath.join(command.cwd or "/", word)) for word in words}
        if command.name == "mkdir":
            made |= places
        elif command.name in ("chown", "chmod"):
            named = {posixpath.normpath(posixpath.join(command.cwd or "/", word)) for word in words[1:]}
            if any(place not in made and not place.startswith("/home/") for place in named):
                return False
    return True


def _other_copies(shipped: Shipped, draft: Draft, workdir: str) -> list[str]:
    """COPY and ADD of the build that put files where nothing else would bring them."""
    site, stage = shipped.site, shipped.stage
    taken = [take.target.rstrip("/") for take in draft.takes]
    later = {
        placed.target
        for found in stage.body
        if found.name in ("COPY", "ADD") and found.span.start > draft.last.span.start
        for placed in site.layers.brought(found, stage).placed
    }
    lines = []
    for found in stage.body:
        if found.name not in ("COPY", "ADD") or not found.words or found.span.start > draft.last.span.start:
            continue
        state = site.graph.state(found)
        target = state.expand(found.words[-1]).text
        if target is None:
            raise CannotSplitError(f"where line {found.line} copies to cannot be told")
        place = posixpath.normpath(posixpath.join(state.workdir or "/", target))
        if any(below(place, path) for path in taken):
            continue
        if not draft.all_files and (below(place, workdir) or is_source(shipped, place)):
            continue
        if found.flag("from") is not None and isinstance(site.graph.source(found, stage), str):
            continue  # a tool out of another image
        brought = site.layers.brought(found, stage).placed
        if brought and all(placed.target in later for placed in brought):
            continue
        lines.append(text_of(shipped, found))
    return lines


def is_source(shipped: Shipped, place: str) -> bool:
    """Whether a build of this stage works in ``place``."""
    folders = {build.run.state.workdir for build in shipped.builds} | {
        command.cwd for run in shipped.runs for command in run.script.commands
    }
    return any(
        folder is not None and folder != "/" and (below(place, folder) or below(folder, place)) for folder in folders
    )


def runtime_packages(shipped: Shipped) -> tuple[list[str], str, list[str]]:
    """System packages that running may need, their tool, and headers whose library is not known."""
    wanted: list[str] = []
    lost: list[str] = []
    tool = "apk" if shipped.base is not None and shipped.base.packages == "apk" else "apt-get"
    for run in shipped.runs:
        for install in os_packages(run):
            tool = install.tool
            for name in install.names:
                if name in _FOR_GYP and any(is_compiler(other) for other in install.names):
                    continue  # node-gyp's needs, not the program's
                beside_git = name in _FOR_GIT and "git" in install.names
                if is_compiler(name) or is_fetcher(name) or name in _FOR_DOWNLOADS or beside_git:
                    if _called(shipped, name) or name == "ca-certificates":
                        wanted.append(name)
                elif is_header(name):
                    library = runtime_library(name, install.tool)
                    if library is not None:
                        wanted.append(library)
                    elif name not in _OF_THE_COMPILER:
                        lost.append(name)
                else:
                    wanted.append(name)
    real = [name for name in dict.fromkeys(wanted) if name != "ca-certificates"]
    if real and "ca-certificates" in wanted:
        real.append("ca-certificates")
    return real, tool, list(dict.fromkeys(lost))


def _missing(shipped: Shipped, facts: ImageFacts | None) -> list[str]:
    """Commands that the container calls, the build's base brings and the runtime's base does not."""
    if facts is None or shipped.base is None:
        return []
    return sorted(tool for tool in shipped.base.tools - facts.tools if _called(shipped, tool))


def _called(shipped: Shipped, name: str) -> bool:
    if name in called(shipped):
        return True
    texts = " ".join(found.value for kind in _SAID for found in shipped.instructions(kind))
    return re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w./-])", texts) is not None


def _install(tool: str, packages: Sequence[str], escape: str) -> list[str]:
    names = " ".join(packages)
    if tool == "apk":
        return [f"RUN apk add --no-cache {names}"]
    if tool in ("apt-get", "apt", "aptitude"):
        return [
            f"RUN apt-get update {escape}",
            f" && apt-get install -y --no-install-recommends {names} {escape}",
            " && rm -rf /var/lib/apt/lists/*",
        ]
    return [f"RUN {tool} install -y {names}"]


def _exec_form(shipped: Shipped, facts: ImageFacts | None, last: Instruction) -> list[Edit]:
    """Shell-form commands written as words, where the runtime stage has no shell."""
    if facts is None or facts.shell:
        return []
    made = []
    for found in (shipped.start.entrypoint, shipped.start.command):
        if found is None or found.json or found.span.start < last.span.start:
            continue
        words = plain_words(found.value)
        if words is None:
            raise CannotSplitError("the command needs a shell, which the runtime image does not have")
        start, end = found.offset(0), found.offset(len(found.value) - 1) + 1
        made.append(Edit(shipped.site.path, Span(start, end), json.dumps(words).encode()))
    return made
