"""How to download dependencies before the project's source is there: the same command, or a pair of commands.

Measured where the tool could be run: npm 11, yarn 1.22 and 4, pnpm 10, bun 1.4, poetry 2, uv, cargo 1.95. The others
follow the tool's own documentation, named beside them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coach import manifests
from coach.manifests import Closure
from coach.model import Safety, Tree


@dataclass(frozen=True, slots=True)
class Hoist:
    """What can run above the source, and what then has to run below it.

    ``unchanged``: the command reads no source and moves as it is; ``first`` is the command, ``later`` is ``None``.
    Otherwise ``first`` downloads, and ``later`` stands in for the command once the source is there; when ``first`` is
    ``None`` too, nothing can be taken out and ``reasons`` say why. Words that the user wrote stay in their order.
    ``safety`` is ``SAFE`` only if both halves together do exactly what the command did. ``reads`` is a command that
    needs the same files as ``first``, where that is less than the whole command needs.
    """

    first: str | None
    later: str | None
    reasons: tuple[str, ...] = ()
    safety: Safety = Safety.SHOW
    unchanged: bool = False
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Order:
    """The command to take apart: ``words`` as they are known, ``raw`` as they are written."""

    tree: Tree
    words: tuple[str | None, ...]
    raw: tuple[str, ...]
    directory: str
    context: str
    closure: Closure
    ahead: bool

    def verb(self, *names: str) -> int:
        """Where the first of ``names`` stands, or where the program does."""
        return next((at for at, word in enumerate(self.words) if word in names), 0)

    def insert(self, at: int, *flags: str) -> str:
        """The command with those of ``flags`` that are not given yet, after word ``at``."""
        new = [flag for flag in flags if flag not in self.words]
        return " ".join((*self.raw[: at + 1], *new, *self.raw[at + 1 :]))

    def has(self, *names: str) -> bool:
        return any(word in names or (word or "").startswith(tuple(f"{n}=" for n in names)) for word in self.words)

    def kept(self, switches: Sequence[str], options: Sequence[str], glued: Sequence[str] = ()) -> list[str]:
        """The user's own words: ``switches``, ``options`` with their value, and words that start with ``glued``."""
        found: list[str] = []
        take = False
        for word, raw in zip(self.words, self.raw, strict=True):
            if take:
                found.append(raw)
                take = False
            elif word in options:
                found.append(raw)
                take = True
            elif word is not None and (
                word in switches
                or word.startswith(tuple(f"{option}=" for option in options if option.startswith("--")))
                or (glued and word.startswith(tuple(glued)))
            ):
                found.append(raw)
        return found

    @property
    def whole(self) -> str:
        return " ".join(self.raw)


def hoist(
    tree: Tree,
    manager: str,
    words: Sequence[str | None],
    directory: str,
    context: str,
    raw: Sequence[str] | None = None,
    look: Callable[[str], str | None] = lambda _: None,
    *,
    ahead: bool = True,
    fetched: bool = False,
) -> Hoist:
    """How ``words``, run in ``directory``, can download before the source is there.

    The arguments are those of ``manifests.closure``; ``raw`` is how the words are spelled in the script, for quotes and
    variables. Prefixes such as ``sudo`` or an assignment are not part of the words; whoever calls adds them again.
    With ``fetched`` an install that could stand above the source as it is, is taken apart where one command downloads
    all that a lockfile names. Without ``ahead`` the first half downloads and compiles nothing: what compiling needs may
    not be there yet.
    """
    closure = manifests.closure(tree, manager, words, directory, context, look)
    if closure is None:
        return Hoist(None, None, (f"no manifest of {manager} is known where the command runs",))
    if raw is None and None not in words:
        raw = [shlex.quote(word) for word in words if word is not None]
    if raw is None or len(raw) != len(words):
        return Hoist(None, None, ("a word of the command is not known before it runs",))
    order = _Order(tree, tuple(words), tuple(raw), directory, context, closure, ahead)
    if not closure.reads_source and not (fetched and manager == "pnpm" and closure.lockfile):
        return Hoist(order.whole, None, closure.uncertain, _safety(closure.uncertain), unchanged=True)
    pair = _PAIRS.get(manager)
    if pair is None:
        return Hoist(None, None, (*closure.reads_source, *closure.uncertain))
    made = pair(order)
    read = manifests.closure(tree, manager, made.reads, directory, context, look) if made.reads else None
    uncertain = (read or closure).uncertain
    reasons = tuple(dict.fromkeys((*made.reasons, *uncertain)))
    return Hoist(made.first, made.later, reasons, _least(made, uncertain), reads=made.reads)


def _safety(uncertain: Sequence[str]) -> Safety:
    return Safety.REVIEW if uncertain else Safety.SAFE


def _least(made: Hoist, uncertain: Sequence[str]) -> Safety:
    if made.first is None:
        return Safety.SHOW
    return Safety.REVIEW if Safety.REVIEW in (made.safety, _safety(uncertain)) else made.safety


def _then_whole(order: _Order, first: str, *reasons: str) -> Hoist:
    """``first``, and below the source the command as it is: it finds everything downloaded and does the rest."""
    return Hoist(first, order.whole, reasons, Safety.REVIEW if reasons else Safety.SAFE)


def _nothing(order: _Order, *reasons: str) -> Hoist:
    return Hoist(None, None, (*reasons, *order.closure.reads_source))


# --------------------------------------------------------------------------------------------------------------- node


def _npm(order: _Order) -> Hoist:
    at = order.verb("ci", "install", "i", "clean-install")
    if order.has("--prefix", "-C", "-w", "--workspace", "--workspaces"):
        return _nothing(order, "the scripts of another directory would have to be run one by one")
    from coach.manifests.node_facts import node_facts

    scripts = node_facts(order.tree, order.directory).scripts
    named = ["install"] if "install" in scripts else [name for name in ("preinstall", "postinstall") if name in scripts]
    named += [name for name in ("prepublish", "prepare") if name in scripts]
    later = " && ".join(("npm rebuild", *(f"npm run {name}" for name in named)))
    reason = (
        "the install scripts run after the source is copied, by `npm rebuild` and `npm run`, and no longer in `npm ci`"
    )
    return Hoist(order.insert(at, "--ignore-scripts"), later, (reason,), Safety.REVIEW)


def _yarn(order: _Order) -> Hoist:
    at = order.verb("install")
    from coach.manifests import node

    if node.berry(order.tree, order.directory, order.context):
        return _then_whole(order, order.insert(at, "--mode=skip-build"))
    return _then_whole(order, order.insert(at, "--ignore-scripts"))


def _pnpm(order: _Order) -> Hoist:
    at = order.verb("install", "i")
    if order.closure.lockfile is None:
        return _nothing(order, "`pnpm fetch` needs a pnpm-lock.yaml")
    first = " ".join(
        (order.raw[0], "fetch", *order.kept(("--prod", "-P", "--production", "--dev", "-D"), ("-C", "--dir")))
    )
    offline = " ".join((*order.raw[: at + 1], "--offline", *order.raw[at + 1 :])) if at else f"{order.whole} --offline"
    return Hoist(first, offline, (), Safety.SAFE)


def _bun(order: _Order) -> Hoist:
    return _then_whole(order, order.insert(order.verb("install", "i"), "--ignore-scripts"))


def _deno(order: _Order) -> Hoist:
    if not any(path.rpartition("/")[2].startswith("deno.json") for path in order.closure.files):
        return _nothing(order, "without a deno.json the dependencies stand in the source alone")
    first = f"{order.raw[0]} install" + (" --frozen" if order.closure.lockfile else "")
    return _then_whole(order, first, "dependencies that only the source names are still downloaded below it")


# ------------------------------------------------------------------------------------------------------------- python


def _pip(order: _Order) -> Hoist:
    kept: list[str] = []
    at, listed = 0, False
    while at < len(order.words):
        word = order.words[at]
        path = order.words[at + 1] if at + 1 < len(order.words) else None
        if word in ("-e", "--editable"):
            at += 2
            continue
        if word in ("-r", "--requirement", "--requirements") or (word or "").startswith(("-r", "--requirement")):
            listed = True
        if at > order.verb("install") and _local(word):
            at += 1
            continue
        if word is not None and word.startswith("-") and path is not None and _local(path) and word in _PIP_PATHS:
            kept.append(order.raw[at])
            at += 1
        kept.append(order.raw[at])
        at += 1
    first = " ".join(kept)
    if listed and first != order.whole and not _reads(order, kept):
        return _then_whole(order, first)
    if order.words[:2] == ("uv", "pip") and "pyproject.toml" in " ".join(order.closure.files):
        return _uv_pip(order)
    return _nothing(
        order, "pip cannot install a project's dependencies without the project; list them in a requirements file"
    )


_PIP_PATHS = frozenset(
    ("-r", "--requirement", "-c", "--constraint", "-t", "--target", "-f", "--find-links", "--cache-dir")
)


def _local(word: str | None) -> bool:
    return word is not None and (word == "." or word.startswith(("./", "../", ".[", "file:", "/")))


def _reads(order: _Order, raw: Sequence[str]) -> bool:
    words = [word for word, spelled in zip(order.words, order.raw, strict=True) if spelled in raw]
    closure = manifests.closure(order.tree, "pip", words, order.directory, order.context)
    return closure is None or bool(closure.reads_source)


def _uv_pip(order: _Order) -> Hoist:
    path = next(path for path in order.closure.files if path.rpartition("/")[2] == "pyproject.toml")
    if path.rpartition("/")[0] != order.directory:
        return _nothing(order)
    extras = [word.partition("[")[2].rstrip("]") for word in order.words if word is not None and word.startswith(".[")]
    named = [f"--extra {shlex.quote(extra.strip())}" for group in extras for extra in group.split(",") if extra.strip()]
    kept = [raw for word, raw in zip(order.words, order.raw, strict=True) if not _local(word) and word != "-e"]
    made = " ".join((*kept, "-r pyproject.toml", *named))
    words = (*(word for word in order.words if not _local(word) and word != "-e"), "-r", "pyproject.toml")
    again = manifests.closure(order.tree, "uv", words, order.directory, order.context)
    return _nothing(order) if again is None or again.reads_source else _then_whole(order, made)


def _poetry(order: _Order) -> Hoist:
    return _then_whole(order, order.insert(order.verb("install", "sync"), "--no-root"))


def _uv(order: _Order) -> Hoist:
    if order.words[1:2] == ("pip",):
        return _pip(order)
    at = order.verb("sync", "run")
    if order.words[at] == "run":
        return _nothing(order, "`uv run` syncs before it runs; a `uv sync` of its own belongs above it")
    for flag in ("--no-install-project", "--no-install-workspace"):
        words = (*order.words[: at + 1], flag, *order.words[at + 1 :])
        again = manifests.closure(order.tree, "uv", words, order.directory, order.context)
        if again is not None and not again.reads_source:
            return _then_whole(order, order.insert(at, flag))
    return _nothing(order)


def _pdm(order: _Order) -> Hoist:
    return _then_whole(order, order.insert(order.verb("install", "sync"), "--no-self"))


# ----------------------------------------------------------------------------------------------------- compiled ones


def _go(order: _Order) -> Hoist:
    if any(path == "vendor" or path.endswith("/vendor") for path in order.closure.directories):
        return _nothing(order, "the modules are vendored, so nothing is downloaded")
    where = order.kept((), ("-C",))
    return _then_whole(order, " ".join((order.raw[0], "mod", "download", *where)))


_MOST_STUBS = 10


def _compiled_ahead(order: _Order, targets: Sequence[tuple[str | None, bool]]) -> Hoist | None:
    """The same build, once of the dependencies alone: empty targets stand in for the project's own."""
    places = [(place, main) for place, main in targets if place is not None]
    if not places or len(places) != len(targets) or len(places) > _MOST_STUBS:
        return None
    homes = dict.fromkeys(place.rpartition("/")[0] for place, _ in places if "/" in place)
    folders = [home for home in homes if not any(other.startswith(f"{home}/") for other in homes)]
    mains = [shlex.quote(place) for place, main in places if main]
    empty = [shlex.quote(place) for place, main in places if not main]
    steps = [f"mkdir -p {' '.join(shlex.quote(folder) for folder in folders)}"] if folders else []
    if len(mains) == 1:
        steps.append(f"echo 'fn main() {{}}' > {mains[0]}")
    elif mains:
        steps.append(f"echo 'fn main() {{}}' | tee {' '.join(mains)}")
    steps += [f"touch {' '.join(empty)}"] if empty else []
    touched = " ".join(shlex.quote(place) for place, _ in places)
    reason = (
        "the first build compiles the dependencies against empty targets; `touch` makes cargo compile the real ones, "
        "whose files may be older"
    )
    return Hoist(
        " && ".join((*steps, order.whole)),
        f"touch {touched} && {order.whole}",
        (reason,),
        Safety.REVIEW,
        reads=(order.raw[0], "fetch"),
    )


def _cargo(order: _Order) -> Hoist:
    from coach.manifests import rust

    if order.ahead and order.words[1:2] in (("build",), ("b",)):
        ahead = _compiled_ahead(order, rust.targets(order.tree, order.directory, order.context))
        if ahead is not None:
            return ahead
    stubs = rust.stubs(order.tree, order.directory, order.context)
    where = order.kept(("--locked", "--frozen"), ("--manifest-path", "--target", "--config"))
    fetch = " ".join((order.raw[0], "fetch", *(word for word in where if word != "--frozen")))
    reasons = [
        "`cargo fetch` only downloads: dependencies are still compiled below the source; cargo-chef or a cache mount "
        "on the target directory keeps that too"
    ]
    if None in stubs or len(stubs) > _MOST_STUBS:
        return _nothing(order, *reasons, "cargo refuses manifests without their targets, too many to stand in for here")
    if stubs:
        places = [place for place in stubs if place is not None]
        folders = " ".join(
            shlex.quote(folder) for folder in dict.fromkeys(p.rpartition("/")[0] for p in places) if folder
        )
        made = " ".join(shlex.quote(place) for place in places)
        fetch = f"mkdir -p {folders} && touch {made} && {fetch}" if folders else f"touch {made} && {fetch}"
        reasons.append(
            "cargo refuses manifests without their targets, so empty ones stand in until the source is copied"
        )
    return _then_whole(order, fetch, *reasons)


def _maven(order: _Order) -> Hoist:
    # https://maven.apache.org/plugins/maven-dependency-plugin/go-offline-mojo.html
    kept = order.kept(
        ("-B", "--batch-mode", "-ntp", "--no-transfer-progress", "-q", "--quiet", "-U", "-e", "-am", "--also-make"),
        ("-f", "--file", "-s", "--settings", "-gs", "-t", "-P", "-pl", "--projects", "--activate-profiles"),
        ("-D", "-P", "-T"),
    )
    kept = list(dict.fromkeys(word for word in kept if "skip" not in word.lower()))
    reasons = [
        "`dependency:go-offline` misses what plugins ask for while they run; Maven downloads that below the source"
    ]
    return _then_whole(order, " ".join((order.raw[0], "dependency:go-offline", *kept)), *reasons)


_GRADLE_TASK = re.compile(r":?[\w.-]+(?::[\w.-]+)+")  # of one project of a build


def _gradle(order: _Order) -> Hoist:
    kept = order.kept(
        ("--no-daemon", "-q", "--quiet", "--info", "--stacktrace"), ("-p", "--project-dir", "-c", "-I"), ("-P", "-D")
    )
    places = [word.rpartition(":")[0] for word in order.words[1:] if word is not None and _GRADLE_TASK.fullmatch(word)]
    task = f"{places[0]}:dependencies" if places else "dependencies"
    return _then_whole(
        order,
        " ".join((order.raw[0], task, *dict.fromkeys(kept))),
        "`gradle dependencies` downloads the distribution, the plugins and metadata, not every library; a cache mount "
        "on the Gradle user home keeps the libraries",
    )


def _sbt(order: _Order) -> Hoist:
    return _then_whole(order, f"{order.raw[0]} update", "plugins may need more of the build than its definition files")


def _composer(order: _Order) -> Hoist:
    # https://getcomposer.org/doc/03-cli.md#install-i: what is installed already is left alone by the second run.
    at = order.verb("install", "i", "update")
    if order.words[at] not in ("install", "i"):
        return _nothing(order, "only `composer install` can be taken apart")
    return _then_whole(order, order.insert(at, "--no-scripts", "--no-autoloader"))


def _dotnet(order: _Order) -> Hoist:
    # https://learn.microsoft.com/dotnet/core/tools/dotnet-restore
    verb = order.verb("build", "publish", "test", "pack", "run", "msbuild")
    if order.words[verb] in ("run", "msbuild") or order.has("--no-restore"):
        return _nothing(order, f"`dotnet {order.words[verb]}` has no restore of its own to take out")
    ends = (".csproj", ".fsproj", ".vbproj", ".sln", ".slnx", ".slnf")
    projects = [
        raw for word, raw in zip(order.words, order.raw, strict=True) if word is not None and word.endswith(ends)
    ]
    places = [
        raw
        for at, (word, raw) in enumerate(zip(order.words, order.raw, strict=True))
        if at > verb and word is not None and word[:1] not in "-/" and raw not in projects
        and not (order.words[at - 1] or "").startswith("-") and "/" in word
    ]  # fmt: skip
    kept = order.kept(
        ("--use-current-runtime", "--ucr", "--locked-mode", "--force", "--self-contained"),
        (
            "-r",
            "--runtime",
            "-a",
            "--arch",
            "--os",
            "-s",
            "--source",
            "--configfile",
            "-v",
            "--verbosity",
            "--packages",
        ),
        ("-p:", "/p:", "--property:", "-property:"),
    )
    return _then_whole(order, " ".join((order.raw[0], "restore", *(projects or places[:1]), *kept)))


def _mix(order: _Order) -> Hoist:
    return _then_whole(order, f"{order.raw[0]} deps.get")


def _swift(order: _Order) -> Hoist:
    return _then_whole(order, " ".join((order.raw[0], "package", *order.kept((), ("--package-path",)), "resolve")))


_PAIRS: dict[str, Callable[[_Order], Hoist]] = {
    "npm": _npm,
    **dict.fromkeys(("yarn", "yarn-classic", "yarn-berry"), _yarn),
    "pnpm": _pnpm,
    "bun": _bun,
    "deno": _deno,
    **dict.fromkeys(("pip", "uv-pip"), _pip),
    "poetry": _poetry,
    "uv": _uv,
    "pdm": _pdm,
    "go": _go,
    "cargo": _cargo,
    **dict.fromkeys(("maven", "mvn"), _maven),
    "gradle": _gradle,
    "sbt": _sbt,
    "composer": _composer,
    "dotnet": _dotnet,
    "mix": _mix,
    "swift": _swift,
}
