"""The quality gates of the skill as checks: over the files alone, and over what an engine showed where one was asked.

Pure. A gate says ``pass`` or ``fail`` only for what the files or the measures prove; what neither shows is ``unknown``
with the reason and the way to find out.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from coach import junk, layers, redact
from coach.dockerfile import Instruction
from coach.errors import InputError
from coach.measured import Build, BuildStep, Image, is_root, secrets_in
from coach.model import Answer, Certainty, Evidence, Kind
from coach.order import Verdict, verdicts
from coach.shipped import variants
from coach.site import Site, cite
from coach.steps import Action


class Status(StrEnum):
    """How a gate stands."""

    PASS = "pass"  # noqa: S105 - a word, not a password
    FAIL = "fail"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Measured:
    """What an engine showed. Every field may be missing; ``failed`` says why the build that was asked for did not end.

    ``unchanged`` is a rebuild of the same files, ``lockfile`` one after ``lockfile_path`` was changed without changing
    what it means.
    """

    image: Image | None = None
    cold: Build | None = None
    unchanged: Build | None = None
    lockfile: Build | None = None
    lockfile_path: str = ""
    failed: str = ""


@dataclass(frozen=True)
class Look:
    """All a gate may see: the site (``None`` without a Dockerfile), the probes' answers by node, the measures."""

    site: Site | None
    answer: Callable[[str], Answer]
    measured: Measured = Measured()


@dataclass(frozen=True, slots=True)
class Result:
    """How one gate stands and what shows it. ``likely`` marks a verdict that an expert would bet on, no more.

    ``fix`` is the FIX that mends it, whether or not it needs mending; ``how`` says how to find out what is unknown.
    """

    id: str
    statement: str
    fix: str
    status: Status
    says: str
    evidence: tuple[Evidence, ...] = ()
    likely: bool = False
    how: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """A gate's verdict before it is put under the gate's name. ``fix`` overrides the gate's own."""

    status: Status
    says: str
    evidence: tuple[Evidence, ...] = ()
    likely: bool = False
    how: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """One quality gate: its id and FIX as the skill lists them, what must hold, and how it is judged."""

    id: str
    statement: str
    fix: str
    judge: Callable[[Look], Said] = field(repr=False)


ENGINE = "coach gates --engine builds it and measures"
_NO_SITE = Said(Status.UNKNOWN, "there is no Dockerfile to read", how="run coach gates on the repository itself")


def check(look: Look, only: Sequence[str] = (), skip: Sequence[str] = ()) -> tuple[Result, ...]:
    """Every gate, or those of ``only``, less those of ``skip``, in the skill's order."""
    found = []
    for gate in GATES:
        if (only and gate.id not in only) or gate.id in skip:
            continue
        said = gate.judge(look)
        fix = said.fix or gate.fix
        found.append(Result(gate.id, gate.statement, fix, said.status, said.says, said.evidence, said.likely, said.how))
    return tuple(found)


def _from(answer: Answer, good: Iterable[str]) -> Said:
    """A probe's answer as a gate's verdict: ``good`` choices pass, unknown stays unknown, the rest fails."""
    if answer.choice is None:
        return Said(Status.UNKNOWN, answer.reason, answer.evidence, how=answer.how_to_find_out)
    status = Status.PASS if answer.choice in good else Status.FAIL
    return Said(status, answer.reason, answer.evidence, answer.certainty is Certainty.LIKELY)


# -- builds


NOOP_SECONDS = 30


def _noop(look: Look) -> Said:
    measured = look.measured
    if measured.unchanged is None:
        return _not_built(look, "how long a rebuild without a change takes was not measured")
    build = measured.unchanged
    says = f"a rebuild without a change took {build.seconds:.1f} s, {build.cached} of {len(build.steps)} steps cached"
    ran = [step for step in build.steps if not step.cached]
    evidence = tuple(one for step in ran for one in _cited(look.site, step, "ran although nothing had changed"))
    return Said(Status.PASS if build.seconds <= NOOP_SECONDS else Status.FAIL, says, evidence)


def _not_built(look: Look, says: str) -> Said:
    if look.measured.failed:
        return Said(Status.UNKNOWN, f"{says}: {look.measured.failed}", how="make the build work, then run this again")
    return Said(Status.UNKNOWN, says, how=ENGINE)


def _lockfile(look: Look) -> Said:
    site, measured = look.site, look.measured
    if site is None:
        return _NO_SITE
    judged = verdicts(site)
    if not judged:
        where = site.cite(site.final.head.line, "no step of this build installs from a manifest")
        return Said(Status.NOT_APPLICABLE, "nothing is installed from a lockfile", (where,))
    if measured.lockfile is None:
        return _not_built(look, "what a changed lockfile reruns was not measured")
    path = measured.lockfile_path
    reading = [one for one in judged if one.closure is not None and path in one.closure.files]
    ran = [step for step in measured.lockfile.steps if not step.cached]
    first = min((one.run.instruction.span.start for one in reading), default=None)
    stale = [one for one in reading if not any(runs(step, one.run.instruction, site) for step in ran)]
    if reading and len(stale) == len(reading):
        where = site.cite(stale[0].run.line, f"came out of the cache although {path} had changed")
        return Said(Status.FAIL, f"the install did not rerun after {path} changed", (where,))
    early = _above(site, ran, reading, path)
    if early:
        names = ", ".join(f"`{step.command[:50]}`" for _, step in early[:3])
        evidence = tuple(site.cite(item.line, "reran, though it stands above the install") for item, _ in early)
        return Said(Status.FAIL, f"a change of {path} also reran {names}, above the install", evidence)
    says = f"a change of {path} reran {len(ran)} of {len(measured.lockfile.steps)} steps, the install first"
    lines = tuple(site.cite(one.run.line, "reran") for one in reading if first is not None)
    return Said(Status.PASS, says, lines)


def _above(site: Site, ran: list[BuildStep], reading: list[Verdict], path: str) -> list[tuple[Instruction, BuildStep]]:
    """RUNs above every install that read ``path`` in its stage chain, which reran all the same."""
    found = []
    for install in reading:
        for stage in site.graph.chain(install.run.stage):
            for item in stage.body:
                if item.name != "RUN" or item.span.start >= install.run.instruction.span.start:
                    continue
                own = any(other.run.instruction is item for other in reading)
                reads = any(run.instruction is item and path in {p.source for p in run.bound} for run in site.runs)
                step = next((step for step in ran if runs(step, item, site)), None)
                if step is not None and not own and not reads:
                    found.append((item, step))
    return found


def runs(step: BuildStep, item: Instruction, site: Site) -> bool:
    """Whether a step of a log is the RUN ``item``: BuildKit names it by its text, a heredoc by its first lines."""
    if item.name != "RUN":
        return False
    text = " ".join(redact.mask(item.value).split())
    name = step.command.removeprefix("RUN ").strip()
    stage = site.dockerfile.stages[item.stage or 0]
    named = {stage.name or "", f"stage-{stage.index}", ""}
    if step.stage.split(" ")[-1] not in named:
        return False
    if item.heredocs:
        return name.startswith("<<") or text.startswith(name[:30])
    return name == text or (name.endswith(("...", "…")) and text.startswith(name.rstrip(".…")))


def _cited(site: Site | None, step: BuildStep, says: str) -> tuple[Evidence, ...]:
    if site is None:
        return ()
    items = (item for stage in site.graph.reachable for item in stage.body)
    return tuple(site.cite(item.line, says) for item in items if runs(step, item, site))[:1]


def _buildkit(look: Look) -> Said:
    return _NO_SITE if look.site is None else _from(look.answer("buildkit"), ("yes",))


# -- the build context

_NAMES = ("node_modules", ".git", ".env", "dist")


def _ignore_file(look: Look) -> Said:
    site = look.site
    if site is None:
        return _NO_SITE
    wide = junk.wide_copies(site)
    if not wide:
        where = site.cite(site.final.head.line, "no step takes the whole context")
        return Said(Status.NOT_APPLICABLE, "only named files leave the context, so nothing else gets in", (where,))
    first = site.cite(wide[0].line, "takes the whole context", wide[0].end_line)
    if site.ignore is None:
        return Said(Status.FAIL, "there is no ignore file", (first,))
    missing = [name for name in _wanted(site) if not site.ignore.ignores(name)]
    if missing:
        top = cite(site.tree, site.ignore.path, 1, f"lets {', '.join(missing)} through")
        return Said(Status.FAIL, f"{site.ignore.path} does not exclude {', '.join(missing)}", (top, first))
    probed = look.answer("context")
    if probed.choice == "no":
        return _from(probed, ("yes",))
    top = cite(site.tree, site.ignore.path, 1, "this ignore file applies")
    return Said(Status.PASS, f"{site.ignore.path} excludes {', '.join(_wanted(site))}", (top,))


def _wanted(site: Site) -> list[str]:
    """Which of the four names this context may ever hold and the build does not need, relative to the context."""
    lead = f"{site.context}/" if site.context else ""
    listed = site.tree.entries()
    named = {
        layers.clean(word)
        for stage in site.graph.reachable
        for item in stage.body
        if item.name in ("COPY", "ADD") and item.flag("from") is None
        for word in item.words[:-1]
    }
    node = f"{lead}package.json" in listed
    built = node or f"{lead}pyproject.toml" in listed or f"{lead}setup.py" in listed or f"{lead}dist" in listed
    found = []
    for name in _NAMES:
        if name == "node_modules" and not (node or f"{lead}{name}" in listed):
            continue
        if name == "dist" and not built:
            continue
        if name == ".git" and junk.uses_git(site) is not None:
            continue
        if name not in named and not any(word.startswith(f"{name}/") for word in named):
            found.append(name)
    return found


CONTEXT_BYTES = 5_000_000


def _context_small(look: Look) -> Said:
    site, cold = look.site, look.measured.cold
    if cold is not None:
        size = cold.context_bytes or 0
        says = f"a cold build transferred {_mb(size)} of build context"
        evidence = () if size <= CONTEXT_BYTES or site is None else _heaviest(site)
        return Said(Status.PASS if size <= CONTEXT_BYTES else Status.FAIL, says, evidence)
    if site is None:
        return _NO_SITE
    unclear = [item for stage in site.graph.reachable for item in stage.body if _variable_source(item)]
    size = sum(weight for _, weight in _sent(site))
    says = f"the files that this build asks for weigh {_mb(size)}"
    if size > CONTEXT_BYTES:
        return Said(Status.FAIL, says, _heaviest(site), likely=True)
    if unclear:
        where = site.cite(unclear[0].line, "what this takes depends on a variable")
        return Said(Status.UNKNOWN, f"{says}, and more may come by a variable", (where,), how=ENGINE)
    return Said(
        Status.PASS, says, (site.cite(site.final.head.line, f"as the files are now: {_mb(size)}"),), likely=True
    )


def _variable_source(item: Instruction) -> bool:
    local = item.name in ("COPY", "ADD") and item.flag("from") is None
    return local and any("$" in word for word in item.words[:-1])


def _sent(site: Site) -> list[tuple[str, int]]:
    """What BuildKit asks of the context, with bytes: all that a wide copy lets through, else what is named."""
    if any(not wide.folder for wide in junk.wide_copies(site)):
        entries = layers.context_entries(site.tree, site.context, site.ignore)
        return [(path, entry.size) for path, entry in entries if entry.kind in (Kind.FILE, Kind.DIR)]
    listed = site.tree.entries()
    placed = {one.source for stage in site.graph.reachable for one in site.layers.end(stage)}
    bound = {one.source for run in site.runs for one in run.bound}
    return [(path, listed[path].size) for path in sorted(placed | bound) if path in listed]


def _heaviest(site: Site) -> tuple[Evidence, ...]:
    top = sorted(_sent(site), key=lambda pair: (-pair[1], pair[0]))[:3]
    names = ", ".join(f"{path} ({_mb(size)})" for path, size in top)
    wide = junk.wide_copies(site)
    line = wide[0].line if wide else site.final.head.line
    return (site.cite(line, f"heaviest: {names}"),)


def _mb(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB" if size >= 100_000 else f"{size / 1000:.1f} kB"


# -- the image

_COMPILERS = frozenset("gcc g++ cc c++ clang clang++ go rustc javac ghc swiftc dmd tcc".split())
_MANAGERS = frozenset(
    (
        "apt apt-get apk dnf yum microdnf zypper npm pnpm yarn pip pip3 pipenv poetry uv pdm conda cargo bundle "
        "composer mvn gradle"
    ).split()
)
_DEV_PACKAGES = frozenset(
    "typescript jest vitest mocha eslint prettier nodemon webpack vite ts-node rollup esbuild".split()
)


def tools_in(image: Image) -> tuple[tuple[str, str], ...]:
    """``(kind, path)`` of each compiler, package manager and development dependency, shortest path first."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted(image.files, key=lambda path: (path.count("/"), path)):
        folder, name = posixpath.split(path)
        kind = "compiler" if name in _COMPILERS else "package manager" if name in _MANAGERS else ""
        if kind and posixpath.basename(folder) in ("bin", "sbin") and image.files[path].holds != "directory":
            found.setdefault(name, (kind, path))
        match = re.fullmatch(r"(?:.*/)?node_modules/([^/@]+)/package\.json", path)
        if match and match[1] in _DEV_PACKAGES and path.count("node_modules/") == 1 and "/npm/" not in path:
            found.setdefault(f"dev:{match[1]}", ("development dependency", posixpath.dirname(path)))
    return tuple(found.values())


def _multi_stage(look: Look) -> Said:
    image, site = look.measured.image, look.site
    if image is not None:
        found = tools_in(image)
        if not found:
            return Said(Status.PASS, f"no compiler, package manager or development dependency is in {image.name}")
        listed = ", ".join(f"/{path} ({kind})" for kind, path in found[:6])
        more = f" and {len(found) - 6} more" if len(found) > 6 else ""
        probed = look.answer("multi_stage") if site is not None else None
        evidence = () if site is None else _base(site)
        says = f"the image holds {listed}{more}"
        if probed is not None and probed.choice == "no":
            return Said(Status.FAIL, says, (*probed.evidence, *evidence))
        return Said(Status.FAIL, says, evidence, fix="F6" if probed is not None else "")
    if site is None:
        return _NO_SITE
    probed = look.answer("multi_stage")
    if probed.choice != "yes":
        return _from(probed, ("yes",))
    shipped = variants(site)[0]
    dev = look.answer("runtime_image")
    if dev.choice == "yes":
        return replace(_from(dev, ("no",)), fix="F6")
    if shipped.base_ref == "scratch":
        return _from(probed, ("yes",))
    if shipped.base is None:
        return Said(
            Status.UNKNOWN, f"what {shipped.base_named} brings along is not known", _base(site), how=ENGINE, fix="F6"
        )
    brought = _brought_along(shipped.base.packages, shipped.base.family, shipped.base.role is not None)
    if brought:
        says = f"{shipped.base_named} brings {brought} along"
        return Said(Status.FAIL, says, _base(site, says), fix="F6")
    return _from(probed, ("yes",))


def _brought_along(packages: str, family: str, known: bool) -> str:
    managers = [packages] if packages else []
    if packages and known:
        managers += {"node": ["npm"], "python": ["pip"]}.get(family, [])
    return " and ".join(managers)


def _base(site: Site, says: str = "") -> tuple[Evidence, ...]:
    shipped = variants(site)[0]
    return (site.cite(shipped.base_line, says or f"the image is built on {shipped.base_named}"),)


LIMITS = {"node": 300, "python": 300, "go": 100, "rust": 100}
_ANY_LIMIT = 300


def limit_mb(site: Site | None) -> tuple[int, str]:
    """The largest image allowed, in megabytes, and for what. What runs decides, not what only helped to build it."""
    if site is None:
        return _ANY_LIMIT, "an image"
    base = variants(site)[0]
    ref = base.base_ref or ""
    for name in ("node", "python"):
        if (base.base is not None and base.base.family.startswith(name)) or re.search(rf"/?{name}", ref):
            return LIMITS[name], name.capitalize()
    used = {step.ecosystem for run in site.runs for step in run.steps if step.action is not Action.OS}
    for name in ("go", "rust", "node", "python"):
        if name in used:
            return LIMITS[name], name.capitalize()
    return _ANY_LIMIT, "an image (no language's own limit applies)"


def _image_size(look: Look) -> Said:
    limit, what = limit_mb(look.site)
    image, site = look.measured.image, look.site
    if image is not None:
        size = image.size / 1_000_000
        says = f"{size:.0f} MB unpacked; at most {limit} MB for {what}"
        evidence = () if site is None else _base(site)
        return Said(Status.PASS if size <= limit else Status.FAIL, says, evidence)
    if site is None:
        return _NO_SITE
    base = variants(site)[0].base
    if base is not None and base.mb is not None and base.mb[0] > limit:
        says = (
            f"{variants(site)[0].base_named} alone has {base.mb[0]} to {base.mb[1]} MB; at most {limit} MB for {what}"
        )
        return Said(Status.FAIL, says, _base(site, says))
    return _not_built(look, "the image was not weighed")


def _copy_order(look: Look) -> Said:
    site = look.site
    if site is None:
        return _NO_SITE
    answer = look.answer("layer_order")
    if answer.choice == "yes" and not verdicts(site):
        return Said(Status.NOT_APPLICABLE, "nothing is installed from a manifest", answer.evidence)
    return _from(answer, ("yes",))


def _cache_mounts(look: Look) -> Said:
    site = look.site
    if site is None:
        return _NO_SITE
    answer = look.answer("cache_mount")
    if answer.choice == "yes" and not any(step.action is not Action.OS for run in site.runs for step in run.steps):
        return Said(Status.NOT_APPLICABLE, "no step uses a language's package manager", answer.evidence)
    return _from(answer, ("yes",))


# -- CI and what it ships


def _registry_cache(look: Look) -> Said:
    site = look.site
    if site is None:
        return _NO_SITE
    answer = look.answer("cold_ci")
    if answer.choice == "no" and not site.ci_builds:
        return Said(Status.NOT_APPLICABLE, answer.reason, answer.evidence)
    return _from(answer, ("no",))


def _no_secrets(look: Look) -> Said:
    image, site = look.measured.image, look.site
    names = secrets_in(image) if image is not None else ()
    if image is not None and names:
        return Said(Status.FAIL, f"{image.name} shows {', '.join(names)} in its environment or history")
    if site is None:
        if image is None:
            return _NO_SITE
        return Said(Status.PASS, f"neither environment nor history of {image.name} shows a secret")
    said = _from(look.answer("secrets"), ("no",))
    if image is not None and said.status is Status.UNKNOWN:
        says = f"neither environment nor history of {image.name} shows a secret"
        return Said(Status.PASS, says, said.evidence, likely=True)
    return said


def _non_root(look: Look) -> Said:
    image, site = look.measured.image, look.site
    if image is not None:
        root = is_root(image.user)
        answer = look.answer("nonroot") if site is not None else None
        evidence = answer.evidence if answer is not None and (answer.choice == "yes") == root else ()
        return Said(Status.FAIL if root else Status.PASS, f"Config.User is {image.user!r}", evidence)
    return _NO_SITE if site is None else _from(look.answer("nonroot"), ("no",))


def _signed(look: Look) -> Said:
    site = look.site
    if site is None:
        return Said(Status.UNKNOWN, "no CI configuration was read", how="cosign verify IMAGE, as its users would")
    answer = look.answer("signing")
    pushes = any(build.push or build.push is None for build in site.ci_builds)
    if answer.choice == "no" and not pushes:
        return Said(Status.NOT_APPLICABLE, "CI pushes no image of this file", answer.evidence)
    return _from(answer, ("no",))


_ARCH = re.compile(
    rb"kubernetes\.io/arch[\"']?\s*[:=]\s*[\"']?(?P<node>arm64|amd64)"
    rb"|(?:cpuArchitecture|cpu_architecture)[\"']?\s*[:=]\s*[\"']?(?P<task>ARM64|X86_64)",
)
_ARCH_KEY = re.compile(rb"key:\s*[\"']?kubernetes\.io/arch[\"']?[^\n]*\n(?:[^\n]*\n){0,6}?[^\n]*?\b(arm64|amd64)\b")
_ARCH_FILE = re.compile(r"\.(?:ya?ml|json|tf|hcl|ts|py)$")
_MOST_FILES, _MOST_BYTES = 2000, 500_000


def deployed(site: Site) -> dict[str, Evidence]:
    """Architectures that deployment files of the repository ask for, each with the first place that does."""
    found: dict[str, Evidence] = {}
    read = 0
    for path, entry in site.tree.entries().items():
        if entry.kind is not Kind.FILE or entry.size > _MOST_BYTES or not _ARCH_FILE.search(path):
            continue
        read += 1
        if read > _MOST_FILES:
            break
        try:
            content = site.tree.read(path)
        except InputError:
            continue
        if b"rchitecture" not in content and b"kubernetes.io/arch" not in content:
            continue
        for pattern in (_ARCH, _ARCH_KEY):
            for match in pattern.finditer(content):
                raw = next(word for word in match.groups() if word)
                arch = {"x86_64": "amd64"}.get(raw.decode().lower(), raw.decode().lower())
                line = content.count(b"\n", 0, match.start()) + 1
                found.setdefault(arch, cite(site.tree, path, line, f"runs on {arch}"))
    return found


def _multi_arch(look: Look) -> Said:
    image, site = look.measured.image, look.site
    both = {"linux/amd64", "linux/arm64"}
    asked = deployed(site) if site is not None else {}
    mixed = {"amd64", "arm64"} <= set(asked)
    if image is not None and image.platforms is not None:
        listed = ", ".join(image.platforms)
        if both <= set(image.platforms):
            return Said(Status.PASS, f"the index of {image.name} lists {listed}")
        if mixed:
            return Said(Status.FAIL, f"the index of {image.name} lists {listed} only", tuple(asked.values()))
    if site is None:
        return Said(
            Status.UNKNOWN,
            "where this image runs is not known",
            how="docker buildx imagetools inspect IMAGE lists its platforms; both are needed where clusters mix",
        )
    pushed = [build for build in site.ci_builds if build.push is not False]
    if not pushed and not mixed:
        where = site.cite(site.final.head.line, "CI pushes no image of this file")
        return Said(Status.NOT_APPLICABLE, "CI pushes no image, and nothing says that it is deployed", (where,))
    answer = look.answer("arm64")
    if answer.choice is None:
        return _from(answer, ())
    arm = answer.choice != "no"
    amd = any(
        _for(build.platforms, "amd64") or (not build.platforms and not _arm_named(build.runner)) for build in pushed
    )
    if arm and amd:
        says = f"built for amd64 and arm64 ({answer.choice})"
        return Said(Status.PASS, says, answer.evidence, answer.certainty is Certainty.LIKELY)
    lacking = "arm64" if not arm else "amd64"
    if lacking in asked:
        says = f"{asked[lacking].path} runs on {lacking}, and no build makes an image for it"
        return Said(Status.FAIL, says, (asked[lacking], *answer.evidence))
    says = f"built for one architecture, and nothing in the repository is deployed on {lacking}"
    return Said(Status.NOT_APPLICABLE, says, answer.evidence, likely=True)


def _for(platforms: Sequence[str], arch: str) -> bool:
    return any(re.fullmatch(rf"(?:linux/)?{arch}(?:/v\d)?", platform) for platform in platforms)


def _arm_named(runner: str) -> bool:
    return bool(re.search(r"arm|aarch64", runner, re.I))


GATES: tuple[Gate, ...] = (
    Gate("noop-rebuild", f"a rebuild without a change takes at most {NOOP_SECONDS} s", "F2", _noop),
    Gate("lockfile-rebuild", "a changed lockfile reruns the install and what follows, nothing above", "F2", _lockfile),
    Gate("buildkit-on", "every build uses BuildKit", "F1", _buildkit),
    Gate("ignore-file", "an ignore file keeps node_modules, .git, .env and dist out", "F8", _ignore_file),
    Gate("context-small", "a cold build transfers at most 5 MB of build context", "F8", _context_small),
    Gate("multi-stage", "no compiler, package manager or dev dependency is in the image", "F4", _multi_stage),
    Gate("image-size", "at most 300 MB for Node and Python, 100 MB for Go and Rust", "F6", _image_size),
    Gate("copy-order", "manifests, install, source, build: in this order", "F2", _copy_order),
    Gate("cache-mounts", "each install has a cache mount on the right path", "F3", _cache_mounts),
    Gate("registry-cache", "CI imports and exports the layer cache", "F5", _registry_cache),
    Gate("no-secrets", "no secret can be read from environment or history", "F10", _no_secrets),
    Gate("non-root", "the image's user is set, and it is not root", "F12", _non_root),
    Gate("signed", "what CI pushes is signed", "F13", _signed),
    Gate("multi-arch", "the image exists for amd64 and arm64 where both are deployed", "F7", _multi_arch),
)
