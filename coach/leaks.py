"""Where a secret could be read back from an image, its history or its build records."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from coach import redact
from coach.dockerfile import Instruction, Stage
from coach.errors import InputError
from coach.layers import clean
from coach.model import BuildSite
from coach.site import Run, Site

_TEST_DATA = frozenset("fixtures __fixtures__ testdata test-data test tests __tests__ spec e2e mocks __mocks__".split())
_SECRET_FILE = re.compile(
    r"\.env(?:\.(?:local|prod|production|staging))?|id_(?:rsa|dsa|ecdsa|ed25519)|\.netrc|_netrc|\.pgpass|\.git-credentials"
    r"|credentials(?:\.json)?|service[-_]account[^/]*\.json|kubeconfig|[^/]*\.(?:pfx|p12|kdbx)|\.aws|\.ssh|\.dockercfg",
    re.I,
)
_SCRIPTED_FILE = re.compile(
    r"\.npmrc|\.yarnrc(?:\.yml)?|\.pypirc|pip\.conf|nuget\.config|settings\.xml|auth\.json|\.env[^/]*", re.I
)
# Variables that front-end build tools put into what every browser downloads.
_PUBLISHED = re.compile(
    r"[ \t]*(?:export[ \t]+)?(?:VITE|NEXT_PUBLIC|NUXT_PUBLIC|REACT_APP|VUE_APP|EXPO_PUBLIC|GATSBY|PUBLIC)_\w+[ \t]*="
)
_EXAMPLE = re.compile(r"example|sample|template|\.dist\b", re.I)
_HELD = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*[:=][ \t]*(\S.*)$", re.M)


# Variables that Python's package managers read by themselves: addresses of indexes, and who may ask them.
# https://pip.pypa.io/en/stable/topics/configuration/, https://python-poetry.org/docs/repositories/,
# https://docs.astral.sh/uv/reference/environment/
_INDEX = re.compile(r"PIP_(?:EXTRA_)?INDEX_URL|UV_(?:(?:EXTRA_)?INDEX_URL|(?:DEFAULT_)?INDEX)|PIPENV_PYPI_MIRROR")
_READ_BY_TOOL = re.compile(_INDEX.pattern + r"|POETRY_(?:HTTP_BASIC|PYPI_TOKEN)_\w+|UV_INDEX_\w+_(?:USERNAME|PASSWORD)")
_DEFAULTS = frozenset(
    "postgres postgresql mysql mariadb mongo redis admin root guest user username pass app django rails laravel "
    "symfony minio minioadmin rabbitmq sa none".split()
)
_LOCAL = re.compile(
    r"@(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\]|db|database|postgres|mysql|redis|mongo|host)\b", re.I
)


def random_looking(value: str) -> bool:
    """Whether ``value`` reads like a generated credential and not like words somebody typed as a stand-in."""
    plain = value.strip().strip("'\"")
    words = re.split(r"[^A-Za-z0-9]+", plain)
    mixed = any(char.isdigit() for char in plain) and any(char.isalpha() for char in plain)
    return len(plain) >= 12 and mixed and any(len(word) >= 8 and not word.isalpha() for word in words)


def stand_in(value: str) -> bool:
    """Whether ``value`` is one that nobody minds being seen: a placeholder, a stock default, a local address."""
    plain = value.strip().strip("'\"")
    return redact.placeholder(plain) or plain.lower() in _DEFAULTS or bool(_LOCAL.search(plain))


@dataclass(frozen=True)
class Leak:
    """One place. ``kind``: ``env``, ``arg``, ``file`` or ``run``; ``name`` is what it is called, never its value.

    ``sure`` when the use proves it; ``shipped`` when it lands in the image or its history, not only in a build stage;
    ``used_by`` are the RUNs that read an argument; ``builds`` the sites that fill it from a secret store.
    """

    kind: str
    name: str
    instruction: Instruction
    stage: Stage
    sure: bool
    shipped: bool
    says: str
    used_by: tuple[Run, ...] = ()
    builds: tuple[BuildSite, ...] = ()


def leaks(site: Site) -> tuple[Leak, ...]:
    """Every leak in file order."""
    chain = {stage.index for stage in site.graph.chain(site.final)}
    found: list[Leak] = []
    for stage in site.graph.reachable:
        for item in stage.body:
            shipped = stage.index in chain
            if item.name in ("ENV", "ARG"):
                found += _declared(site, stage, item, shipped)
            elif item.name in ("COPY", "ADD") and item.flag("from") is None:
                found += _copied(site, stage, item, shipped)
    for run in site.runs:
        found += _written(run, run.stage.index in chain)
    return tuple(sorted(found, key=lambda leak: leak.instruction.span.start))


def _declared(site: Site, stage: Stage, item: Instruction, shipped: bool) -> Iterator[Leak]:
    for name, value in item.pairs:
        literal = value or ""
        shaped = redact.secret_shaped(literal)
        if item.name == "ARG" and not literal.strip("'\""):
            yield from _filled(site, stage, item, name, shipped)
            continue
        if shaped:
            where = "the image's configuration" if item.name == "ENV" else "the image's history"
            yield Leak(
                item.name.lower(), name, item, stage, True, shipped, f"{name} holds a token; it stays in {where}"
            )
        elif "$" in literal or stand_in(literal) or not (shipped or random_looking(literal)):
            if item.name == "ARG" and redact.credential_name(name):
                yield from _filled(site, stage, item, name, shipped)
        elif redact.credential_name(name):
            says = f"{name} has a literal value that anyone with the image can read"
            yield Leak(item.name.lower(), name, item, stage, False, shipped, says)
        elif redact.mask(literal) != literal:
            yield Leak(item.name.lower(), name, item, stage, False, shipped, f"{name} holds an address with a password")


def _filled(site: Site, stage: Stage, item: Instruction, name: str, shipped: bool) -> Iterator[Leak]:
    """An argument that builds fill from a secret store, or that is named and used like a credential."""
    secret = tuple(build for build in site.builds for arg in build.build_args if arg.name == name and arg.secret)
    passed = any(arg.name == name for build in site.builds for arg in build.build_args)
    used = tuple(
        run for run in site.runs_of(stage) if _reads(site, run, name) and run.instruction.span.start > item.span.start
    )
    kept = [
        other for other in stage.body if other.name == "ENV" and re.search(rf"\$\{{?{re.escape(name)}\b", other.value)
    ]
    if secret:
        where = "it stays in the image's history" if shipped else "it stays in the build cache and in the provenance"
        says = f"{name} is filled from the CI's secret store; {where}"
        yield Leak("arg", name, item, stage, shipped or bool(kept), shipped, says, used, secret)
    elif redact.credential_name(name) and (used or kept):
        where = (
            "stays in the image"
            if kept and shipped
            else "stays in the history"
            if shipped
            else "stays in the build cache"
        )
        says = f"{name} is used like a credential, and its value {where}"
        yield Leak("arg", name, item, stage, False, shipped, says, used)
    elif redact.credential_name(name) and (passed or not site.builds):
        says = f"{name} is called like a credential; nothing here shows what is passed"
        yield Leak("arg?", name, item, stage, False, shipped, says)
    elif _INDEX.fullmatch(name) and used and not _shown(site, name) and (passed or not site.builds):
        says = f"{name} may hold an address with a password; nothing here shows what is passed"
        yield Leak("arg?", name, item, stage, False, shipped, says)


def _shown(site: Site, name: str) -> bool:
    """Whether every build that passes ``name`` says its value, so that a password would be seen."""
    values = [arg.value for build in site.builds for arg in build.build_args if arg.name == name]
    return bool(values) and None not in values


def _reads(site: Site, run: Run, name: str) -> bool:
    pattern = re.compile(rf"\$\{{?{re.escape(name)}\b")
    if pattern.search(run.instruction.value) or any(pattern.search(doc.body) for doc in run.instruction.heredocs):
        return True
    if _READ_BY_TOOL.fullmatch(name) and any(step.manager.startswith(name.split("_")[0].lower()) for step in run.steps):
        return True
    # a package manager's own file may read the variable: //host/:_authToken=${NPM_TOKEN}
    if not run.steps:
        return False
    for target, source in run.files.items():
        if _SCRIPTED_FILE.fullmatch(posixpath.basename(target)):
            try:
                if pattern.search(site.read(source).decode("utf-8", "replace")):
                    return True
            except InputError:
                continue
    return False


def _copied(site: Site, stage: Stage, item: Instruction, shipped: bool) -> Iterator[Leak]:
    for word in item.words[:-1]:
        name = posixpath.basename(clean(word))
        if not name or "$" in word:
            continue
        if _SECRET_FILE.fullmatch(name) and not word.endswith((".example", ".sample")):
            path = posixpath.join(site.context, clean(word))
            holds = holds_credentials(site, path)
            if holds is False:
                continue
            says = f"{name} becomes part of a layer" + (" and holds credentials" if holds else "")
            yield Leak("file", name, item, stage, bool(holds) and shipped, shipped, says)
        elif _SCRIPTED_FILE.fullmatch(name) and holds_credentials(site, posixpath.join(site.context, clean(word))):
            yield Leak(
                "file", name, item, stage, shipped, shipped, f"{name} holds a credential and becomes part of a layer"
            )
    wide = any(not clean(word) for word in item.words[:-1])
    if wide:
        for placed in site.layers.brought(item, stage).placed:
            name = posixpath.basename(placed.source)
            if _TEST_DATA & set(placed.source.split("/")[:-1]):
                continue  # what tests are given opens nothing
            if _SECRET_FILE.fullmatch(name) and holds_credentials(site, placed.source):
                yield Leak(
                    "file",
                    placed.source,
                    item,
                    stage,
                    False,
                    shipped,
                    f"takes {placed.source} along, which holds credentials",
                )


def holds_credentials(site: Site, path: str) -> bool | None:
    """Whether a file holds a credential; ``None`` when it is not in the repository (so: on somebody's machine)."""
    if not site.has(path):
        return None
    try:
        text = site.read(path)[:200_000].decode("utf-8", "replace")
    except InputError:
        return None
    text = "\n".join(line for line in text.splitlines() if not _PUBLISHED.match(line))
    if redact.secret_shaped(text):
        return True
    if _EXAMPLE.search(posixpath.basename(path)):
        return False
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("#", ";", "//")))
    if any(redact.credential_name(m[1]) and not redact.placeholder(m[2].strip()) for m in _HELD.finditer(text)):
        return True
    return any(redact.mask(line) != line for line in text.splitlines()[:2000])


def _hard_coded(run: Run) -> bool:
    """Whether a command is given a literal credential, other than the stand-ins that build steps ask for."""
    for command in run.script.commands:
        if any(
            redact.credential_name(name) and word.text and random_looking(word.text) and not stand_in(word.text)
            for name, word in command.assignments
        ):
            return True
        text = " ".join(word.raw for word in command.argv)
        for match in re.finditer(r"://[^\s:/@]*:([^\s/@]+)@\S*", text):
            if not stand_in(match[1]) and not _LOCAL.search(match[0]):
                return True
        for flag, value in _flag_values(command.words):
            if redact.credential_name(flag) and value and not stand_in(value) and "$" not in value:
                return True
    return False


def _flag_values(words: tuple[str | None, ...]) -> Iterator[tuple[str, str | None]]:
    for word, following in zip(words, (*words[1:], None), strict=True):
        if word is not None and word.startswith("--"):
            name, _, value = word.lstrip("-").partition("=")
            yield name, value or (following if following and not following.startswith("-") else None)


def _written(run: Run, shipped: bool) -> Iterator[Leak]:
    texts = [run.instruction.value, *(doc.body for doc in run.instruction.heredocs)]
    joined = "\n".join(texts)
    if redact.secret_shaped(joined):
        yield Leak(
            "run", "a token", run.instruction, run.stage, shipped, shipped, "a token stands in the command itself"
        )
    elif redact.mask(joined) != joined:
        yield Leak(
            "run", "a password", run.instruction, run.stage, False, shipped, "a password stands in the command itself"
        )
    for command in run.script.commands:
        reads = any("/run/secrets/" in (word or "") for word in command.words)
        out = [r.target.text or "" for r in command.redirects if r.operator in (">", ">>")]
        copies = command.name in ("cp", "mv", "install", "tee") and reads
        if reads and (copies or any(not path.startswith(("/dev/", "/tmp/", "/run/")) for path in out)):  # noqa: S108
            says = "writes a mounted secret into the layer"
            yield Leak("run", "a mounted secret", run.instruction, run.stage, False, shipped, says)
            return
