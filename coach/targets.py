"""Which Dockerfiles a repository holds, and from which context and to which stage each one is built."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from coach import ci, dockerignore
from coach.dockerfile import Dockerfile, parse
from coach.errors import CoachError, InputError, UsageError
from coach.layers import clean
from coach.model import BuildSite, Evidence, Kind, Skipped, Tree, is_file
from coach.site import Site, cite

_NAME = re.compile(r"(?:[^/]*[._-])?(?:dockerfile|containerfile)(?:[._-][^/]*)?", re.I)
_OTHER_KIND = re.compile(
    r"\.(?:dockerignore|md|rst|txt|html?|j2|jinja2?|erb|tmpl|tpl|template|in|mustache|gotmpl|hbs|ejs|sh|bash|py|rb|go|js"
    r"|mjs|ts|java|rs|php|lua|vim|ya?ml|json|toml|xml|lock|bak|orig|swp|patch|diff|png|svg|gz|zip|snap|golden|sum|log)$",
    re.I,
)
_NOT_OURS = frozenset({"vendor", "third_party", "testdata", "node_modules", "site-packages", "bower_components"})
# Who decides when several places build one Dockerfile differently: what CI ships, then what people run at home.
_RANK = {"compose": 3, "bake": 2, "script": 4, "make": 4}


@dataclass(frozen=True)
class Targets:
    """What ``discover`` found: the sites in a stable order, what was passed over, and remarks for the user."""

    sites: tuple[Site, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()


def looks_like_dockerfile(path: str) -> bool:
    """Whether a file's name is one that people give to Dockerfiles."""
    name = posixpath.basename(path)
    return bool(_NAME.fullmatch(name)) and not _OTHER_KIND.search(name)


def dockerfiles(tree: Tree) -> tuple[str, ...]:
    """Paths of all files named like a Dockerfile, symlinks replaced by what they lead to, each once."""
    found = set()
    for path, entry in tree.entries().items():
        if entry.kind in (Kind.FILE, Kind.SYMLINK) and looks_like_dockerfile(path):
            real = entry.target if entry.kind is Kind.SYMLINK else path
            if real is not None and is_file(tree, real) and not _NOT_OURS & set(path.split("/")[:-1]):
                found.add(real)
    return tuple(sorted(found))


def _rank(build: BuildSite) -> tuple[int, int, str, int]:
    shipped = 0 if build.push else 1
    return (shipped if build.ci else _RANK.get(build.system, 2) + 1, shipped, build.path, build.line)


def _real(tree: Tree, path: str) -> str:
    entry = tree.entries().get(path)
    return entry.target if entry is not None and entry.kind is Kind.SYMLINK and entry.target else path


def _local_sources(dockerfile: Dockerfile) -> list[tuple[int, str]]:
    """``(line, source word)`` of every COPY and ADD that reads the context and holds no variable."""
    return [
        (instruction.line, clean(word))
        for instruction in dockerfile.instructions
        if instruction.name in ("COPY", "ADD") and instruction.flag("from") is None
        for word in instruction.words[:-1]
        if "$" not in word and "://" not in word and not word.startswith(("<<", "git@"))
    ]


def default_context(tree: Tree, dockerfile: Dockerfile) -> tuple[str, Evidence]:
    """The context to assume when nothing says from where a Dockerfile is built, with the line that tells.

    It is the Dockerfile's own folder, unless its COPY sources (or the manifests its installs need) only exist
    further up.
    """
    own = posixpath.dirname(dockerfile.path)
    sources = _local_sources(dockerfile)
    entries = tree.entries()
    above = [own]
    while above[-1]:
        above.append(posixpath.dirname(above[-1]))

    def there(folder: str, word: str) -> bool:
        fixed = re.split(r"[*?\[]", word)[0]
        fixed = fixed if fixed == word else posixpath.dirname(fixed)
        path = posixpath.join(folder, fixed).rstrip("/")
        return not path or path in entries

    named = [(line, word) for line, word in sources if word]
    if named:
        scores = {folder: sum(there(folder, word) for _, word in named) for folder in above}
        best = max(above, key=lambda folder: (scores[folder], -above.index(folder)))
        line, word = next(((line, word) for line, word in named if there(best, word)), named[0])
        if best == own:
            return own, cite(tree, dockerfile.path, line, f"{word} exists beside the Dockerfile: built from there")
        return best, cite(tree, dockerfile.path, line, f"{word} exists under {best or 'the root'}, not in {own}")
    line = sources[0][0] if sources else dockerfile.stages[0].head.line
    if sources and own:
        for folder in above:
            if any(is_file(tree, posixpath.join(folder, name)) for name in _MANIFESTS):
                place = folder or "the root"
                return folder, cite(tree, dockerfile.path, line, f"the manifests to install from are in {place}")
    return own, cite(tree, dockerfile.path, line, "nothing builds it here: its own folder is taken as the context")


_MANIFESTS = (
    *("package.json", "pyproject.toml", "requirements.txt", "setup.py", "Pipfile", "environment.yml", "go.mod"),
    *("Cargo.toml", "pom.xml", "build.gradle", "build.gradle.kts", "build.sbt", "Gemfile", "composer.json", "mix.exs"),
    *("Package.swift", "deno.json", "CMakeLists.txt", "Makefile"),
)


def _parse(tree: Tree, path: str) -> Dockerfile:
    return parse(tree.read(path), path)


def _make(
    tree: Tree,
    dockerfile: Dockerfile,
    context: str | None,
    target: str | None,
    builds: Iterable[BuildSite],
    skipped: tuple[Skipped, ...],
) -> Site:
    says = None
    if context is None:
        context, says = default_context(tree, dockerfile)
    ignore = dockerignore.find(tree, dockerfile.path, context)
    return Site(
        tree,
        dockerfile,
        context,
        target=target,
        builds=tuple(sorted(builds, key=_rank)),
        ignore=ignore,
        context_says=says,
        skipped=skipped,
    )


def _same_target(dockerfile: Dockerfile, one: str | None, other: str | None) -> bool:
    return _stage_key(dockerfile, one) == _stage_key(dockerfile, other)


def _stage_key(dockerfile: Dockerfile, target: str | None) -> object:
    if target is None:
        return dockerfile.stages[-1].index
    for stage in dockerfile.stages:
        if stage.name is not None and stage.name.lower() == target.lower():
            return stage.index
    return int(target) if target.isdecimal() else target


def discover(
    tree: Tree, dockerfile: str | None = None, context: str | None = None, target: str | None = None
) -> Targets:
    """Every target of the repository, or exactly one when ``dockerfile`` narrows the run.

    Raises ``UsageError`` for a Dockerfile or context that is not there, ``InputError`` when the only Dockerfile, or
    the one asked for, cannot be read or parsed. Others that fail become ``skipped``.
    """
    found = ci.build_sites(tree)
    builds: dict[str, list[BuildSite]] = {}
    for build in found.builds:
        if build.dockerfile is not None:
            builds.setdefault(_real(tree, build.dockerfile), []).append(build)
    if dockerfile is None and (context is not None or target is not None):
        paths = dockerfiles(tree)
        if len(paths) != 1:
            raise UsageError("--context and --target need --dockerfile when there is more than one Dockerfile")
        dockerfile = paths[0]
    if dockerfile is not None:
        return Targets((_one(tree, dockerfile, context, target, builds, found.skipped),), found.skipped)
    return _all(tree, builds, found.skipped)


def _one(
    tree: Tree,
    path: str,
    context: str | None,
    target: str | None,
    builds: dict[str, list[BuildSite]],
    skipped: tuple[Skipped, ...],
) -> Site:
    path = clean(path)
    if not is_file(tree, path):
        raise UsageError("no such Dockerfile in the repository", path)
    if context is not None:
        if posixpath.isabs(context) or posixpath.normpath(context).startswith(".."):
            raise UsageError("the build context has to be a folder of the repository", context)
        context = clean(context)
        if context and (context not in tree.entries() or tree.entries()[context].kind is Kind.FILE):
            raise UsageError("no such build context in the repository", context)
    real = _real(tree, path)
    parsed = _parse(tree, real)
    known = sorted(builds.get(real, []), key=_rank)
    fitting = [build for build in known if context is None or build.context in (None, context)]
    if target is None:
        target = _agreed_target(parsed, [build for build in fitting if build.ci and build.push] or fitting)
    if context is None and fitting:
        context = next((build.context for build in fitting if build.context is not None), None)
        fitting = [build for build in fitting if _same_context(tree, build.context, context)]
    exact = [build for build in fitting if build.unsure("target") or _same_target(parsed, build.target, target)]
    return _make(tree, parsed, context, target, exact or fitting, skipped)


def _same_context(tree: Tree, one: str | None, other: str | None) -> bool:
    """Whether two builds take their files from one place; folders that only the builds make count as one."""
    entries = tree.entries()
    return (
        one is None or one == other or (other is not None and bool(one) and one not in entries and other not in entries)
    )


def _agreed_target(dockerfile: Dockerfile, builds: list[BuildSite]) -> str | None:
    """The one target that all ``builds`` name; ``None`` (the last stage) when they differ or there are none."""
    named = {_stage_key(dockerfile, build.target): build.target for build in builds}
    target = next(iter(named.values())) if len(named) == 1 else None
    return target if _stage_exists(dockerfile, target) else None


def _stage_exists(dockerfile: Dockerfile, target: str | None) -> bool:
    key = _stage_key(dockerfile, target)
    return isinstance(key, int) and key < len(dockerfile.stages)


def _all(tree: Tree, builds: dict[str, list[BuildSite]], skipped: tuple[Skipped, ...]) -> Targets:
    paths = sorted({*dockerfiles(tree), *(path for path in builds if is_file(tree, path))})
    if not paths:
        _name_what_is_no_file(tree)
        raise InputError("no Dockerfile found here; name one with --dockerfile")
    sites: list[Site] = []
    passed: list[Skipped] = list(skipped)
    errors: list[CoachError] = []
    for path in paths:
        try:
            parsed = _parse(tree, path)
            sites += _sites_of(tree, parsed, builds.get(path, []), skipped)
        except CoachError as error:
            errors.append(error)
            passed.append(Skipped(error.path or path, error.line, error.says))
    if not sites:
        raise errors[0]
    return Targets(tuple(sites), tuple(passed))


def _name_what_is_no_file(tree: Tree) -> None:
    for path, entry in tree.entries().items():
        if entry.kind is not Kind.FILE and looks_like_dockerfile(path) and not _NOT_OURS & set(path.split("/")[:-1]):
            if entry.kind is Kind.SYMLINK and entry.target is None:
                raise InputError("a symlink that leads nowhere or out of the repository", path)
            if entry.kind is Kind.OTHER:
                raise InputError("neither a file nor a folder: not read", path)


def _sites_of(tree: Tree, dockerfile: Dockerfile, builds: list[BuildSite], skipped: tuple[Skipped, ...]) -> list[Site]:
    usable = [build for build in sorted(builds, key=_rank) if _stage_exists(dockerfile, build.target)]
    groups: dict[tuple[str, object], list[BuildSite]] = {}
    default: str | None = None
    for build in usable:
        context = build.context
        if context is None:
            default = default if default is not None else default_context(tree, dockerfile)[0]
            context = default
        context = next((known for known, _ in groups if _same_context(tree, known, context)), context)
        groups.setdefault((context, _stage_key(dockerfile, build.target)), []).append(build)
    if not groups:
        return [_make(tree, dockerfile, None, None, builds, skipped)]
    return [
        _make(tree, dockerfile, context, next((b.target for b in group if b.target), None), group, skipped)
        for (context, _), group in groups.items()
    ]
