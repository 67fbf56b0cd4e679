"""What is known of base images: libc, size, users, what they carry, and which smaller image can take their place.

The facts live in ``knowledge/images.toml``, each with its source and date. An image that is not in there is unknown,
and every function then says so instead of guessing from the name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple

from coach.dockerfile import BaseConfig


class Libc(StrEnum):
    """The C library that programs of an image are linked against. ``NONE``: it has none."""

    GLIBC = "glibc"
    MUSL = "musl"
    NONE = "none"


class Role(StrEnum):
    """What an image is for. ``SDK`` and ``LANGUAGE`` carry build tools, the others do not."""

    SDK = "sdk"
    LANGUAGE = "language"
    SLIM = "slim"
    RUNTIME = "runtime"
    STATIC = "static"
    OS = "os"
    SERVER = "server"


class Reference(NamedTuple):
    """An image reference taken apart. ``repository`` is normalised (no ``docker.io/library/``, no mirror host).

    ``written`` is the reference as given without tag and digest, so that a replacement can keep a mirror;
    ``tag`` is ``""`` when none is written.
    """

    written: str
    repository: str
    tag: str
    digest: str

    def with_tag(self, tag: str) -> str:
        return f"{self.written}:{tag}"


class User(NamedTuple):
    """An account that exists in an image."""

    uid: int
    gid: int
    home: str


class ImageFacts(NamedTuple):
    """What is known of one image.

    ``libc``, ``role`` and ``user`` are ``None`` when not known; ``user`` is "0" for root. ``mb`` is the range of its
    size on disk in megabytes (uncompressed, linux/amd64). ``toolchain`` says that a C compiler is in it, ``shell`` that
    ``/bin/sh`` is. ``release`` is the distribution's code name or number when the tag spells it. ``drops`` says how the
    image gives up root by itself, "" when it does not. ``runtime`` holds smaller images that can run what was built
    here, best first. ``cgo`` is Go's default there, ``None`` where Go is not.
    """

    reference: Reference
    family: str
    libc: Libc | None
    role: Role | None
    mb: tuple[int, int] | None
    user: str | None
    users: Mapping[str, User]
    workdir: str | None
    env: Mapping[str, str]
    shell: bool
    packages: str
    toolchain: bool
    tools: frozenset[str]
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    drops: str
    cgo: bool | None
    release: str
    runtime: tuple[str, ...]
    source: str
    date: str

    @property
    def ships_build_tools(self) -> bool:
        """Whether a compiler, a JDK or another SDK is part of it."""
        return self.toolchain or self.role in (Role.SDK, Role.LANGUAGE)


class _Variant(NamedTuple):
    tags: str
    data: Mapping[str, object]


class _Family(NamedTuple):
    data: Mapping[str, object]
    variants: tuple[_Variant, ...]


# Hosts that serve Docker Hub's own names unchanged.
_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
_ARCHITECTURES = frozenset(
    {"amd64", "arm32v5", "arm32v6", "arm32v7", "arm64v8", "i386", "ppc64le", "riscv64", "s390x", "mips64le"}
)
_REFERENCE = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._/-]|:(?=\d+/))*)(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>[\w+.-]+:[0-9a-fA-F]+))?"
)
_RELEASES = ("trixie", "bookworm", "bullseye", "buster", "stretch", "resolute", "noble", "jammy", "focal", "bionic")
# The C library's version decides which way a program may travel: older to newer runs, newer to older does not.
# Debian: https://packages.debian.org/libc6, Ubuntu: https://packages.ubuntu.com/libc6 (read 2026-11).
_GLIBC = {
    "stretch": (2, 24),
    "bionic": (2, 27),
    "buster": (2, 28),
    "focal": (2, 31),
    "bullseye": (2, 31),
    "jammy": (2, 35),
    "bookworm": (2, 36),
    "noble": (2, 39),
    "trixie": (2, 41),
}
_NUMBERED = {
    "debian": {"9": "stretch", "10": "buster", "11": "bullseye", "12": "bookworm", "13": "trixie"},
    "ubuntu": {"18.04": "bionic", "20.04": "focal", "22.04": "jammy", "24.04": "noble", "26.04": "resolute"},
}
_HOLE = re.compile(r"\{(?P<name>\w+)(?P<optional>\?)?(?:=(?P<choices>[^}]+))?\}")
_KEYS = frozenset(
    {"libc", "role", "mb", "user", "users", "workdir", "env", "shell", "packages", "toolchain", "tools", "entrypoint"}
    | {"cmd", "drops", "cgo", "runtime"}
)
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "libc": str,
    "role": str,
    "mb": list,
    "user": str,
    "users": dict,
    "workdir": str,
    "env": dict,
    "shell": bool,
    "packages": str,
    "toolchain": bool,
    "tools": list,
    "entrypoint": list,
    "cmd": list,
    "drops": str,
    "cgo": bool,
    "runtime": list,
}


def parse_reference(ref: str) -> Reference | None:
    """``ref`` taken apart, or ``None`` when it is not an image reference (a variable is left in it, odd bytes …)."""
    ref = ref.strip()
    if len(ref) > 512:
        return None
    match = _REFERENCE.fullmatch(ref)
    if match is None:
        return None
    name = match["name"]
    return Reference(name, _normalised(name), match["tag"] or "", match["digest"] or "")


def _normalised(name: str) -> str:
    """The name under which an image is known: Docker Hub's official images without host and ``library/``."""
    parts = name.split("/")
    if len(parts) > 1 and parts[-2] == "library":
        return parts[-1]  # pull-through caches and mirrors keep Docker Hub's `library/`
    if parts[0] in _HUB:
        parts = parts[1:]
    if len(parts) == 2 and parts[0] in _ARCHITECTURES:
        return parts[1]
    return "/".join(parts)


@lru_cache(maxsize=1024)
def lookup(ref: str) -> ImageFacts | None:
    """Facts about the image ``ref`` (``registry/path:tag@digest``); ``None`` when the image is not known.

    A missing tag means ``latest``. With a digest alone the tag is not known, so only what all tags of the image
    share could be told: that is ``None`` too.
    """
    reference = parse_reference(ref)
    if reference is None:
        return None
    tag = reference.tag or ("" if reference.digest else "latest")
    if not tag:
        return None
    for family in _families(reference.repository):
        for variant in family.variants:
            match = re.fullmatch(variant.tags, tag)
            if match is not None:
                return _facts(reference, tag, family, variant, match)
    return None


def base_config(ref: str) -> BaseConfig | None:
    """Environment, working directory and user that a stage inherits from ``ref``; ``None`` when not known."""
    facts = lookup(ref)
    if facts is None:
        return None
    plain = facts.role is not None and facts.user is not None
    workdir = facts.workdir or ("" if plain else None)
    return BaseConfig(env=dict(facts.env), workdir=workdir, user="" if facts.user == "0" else facts.user)


def users(ref: str) -> Mapping[str, tuple[int, str]]:
    """Accounts of ``ref`` by name: uid and home directory. Empty when the image is not known."""
    facts = lookup(ref)
    if facts is None:
        return {}
    return {name: (user.uid, user.home) for name, user in facts.users.items()}


def glibc_version(facts: ImageFacts) -> tuple[int, int] | None:
    """Version of the C library, when the image has glibc and its tag spells the distribution's release."""
    return _GLIBC.get(facts.release) if facts.libc is Libc.GLIBC else None


@lru_cache(maxsize=1)
def _knowledge() -> tuple[Mapping[str, tuple[_Family, ...]], tuple[tuple[str, _Family], ...]]:
    """Families by exact repository name, and those named by a wildcard in file order. Raises ``ValueError``."""
    # that the file is what `index` asks for is held by a test
    text = (files("coach") / "knowledge" / "images.toml").read_text("utf-8")
    return _arranged(tomllib.loads(text)["image"])


def index(data: Mapping[str, object]) -> tuple[Mapping[str, tuple[_Family, ...]], tuple[tuple[str, _Family], ...]]:
    """Check the tables of ``images.toml`` and arrange them for look-up. Raises ``ValueError`` naming what is wrong."""
    tables = data.get("image")
    if not isinstance(tables, list) or set(data) != {"image"}:
        raise ValueError("images.toml: only [[image]] tables are expected")
    for table in tables:
        _check_family(table)
    exact, wild = _arranged(tables)
    twice = sorted(name for name, families in exact.items() if len(families) > 1)
    if twice:
        raise ValueError(f"images.toml: named more than once: {', '.join(twice)}")
    return exact, wild


def _arranged(
    tables: Iterable[Mapping[str, Any]],
) -> tuple[Mapping[str, tuple[_Family, ...]], tuple[tuple[str, _Family], ...]]:
    exact: dict[str, tuple[_Family, ...]] = {}
    wild: list[tuple[str, _Family]] = []
    for table in tables:
        family = _Family(table, tuple(_Variant(variant["tags"], variant) for variant in table["variant"]))
        for name in table["names"]:
            if any(char in name for char in "*?["):
                wild.append((name, family))
            else:
                exact[name] = (*exact.get(name, ()), family)
    return exact, tuple(wild)


def _check_family(table: dict[str, object]) -> None:
    names, family = table.get("names"), table.get("family")
    where = f"images.toml: {family or names or table}"
    if not isinstance(family, str) or not isinstance(names, list) or not names:
        raise ValueError(f"{where}: needs family and names")
    if not isinstance(table.get("source"), str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", str(table.get("date"))):
        raise ValueError(f"{where}: needs a source and a date (YYYY-MM-DD)")
    _check(where, set(table) - {"names", "family", "source", "date", "variant"}, table)
    variants = table.get("variant")
    if not isinstance(variants, list) or not variants:
        raise ValueError(f"{where}: needs at least one variant")
    for variant in variants:
        _check(where, set(variant) - {"tags"}, variant)
        if not {"tags", "libc", "role"} <= set(variant):
            raise ValueError(f"{where}: a variant needs tags, libc and role")
        if variant["libc"] and variant["libc"] not in set(Libc):
            raise ValueError(f"{where}: libc {variant['libc']!r}")
        if variant["role"] and variant["role"] not in set(Role):
            raise ValueError(f"{where}: role {variant['role']!r}")
        try:
            re.compile(variant["tags"])
        except (re.error, TypeError) as error:
            raise ValueError(f"{where}: tags {variant['tags']!r}: {error}") from None


def _check(where: str, keys: set[str], table: Mapping[str, object]) -> None:
    unknown = keys - _KEYS
    if unknown:
        raise ValueError(f"{where}: unknown keys {', '.join(sorted(unknown))}")
    for key in keys:
        if not isinstance(table[key], _TYPES[key]):
            raise ValueError(f"{where}: {key} is of the wrong type")
    size = table.get("mb")
    if isinstance(size, list) and (len(size) != 2 or not 0 <= size[0] <= size[1]):
        raise ValueError(f"{where}: mb must be [low, high]")


def _families(repository: str) -> tuple[_Family, ...]:
    exact, wild = _knowledge()
    if repository in exact:
        return exact[repository]
    return tuple(family for pattern, family in wild if fnmatchcase(repository, pattern))[:1]


def _facts(reference: Reference, tag: str, family: _Family, variant: _Variant, match: re.Match[str]) -> ImageFacts:
    data: dict[str, object] = {**family.data, **variant.data}
    user = data.get("user", "0")
    size = data.get("mb")
    accounts = data.get("users", {})
    assert isinstance(accounts, dict)
    return ImageFacts(
        reference=reference,
        family=str(data["family"]),
        libc=Libc(str(data["libc"])) if data["libc"] else None,
        role=Role(str(data["role"])) if data["role"] else None,
        mb=(size[0], size[1]) if isinstance(size, list) else None,
        user=None if user == "?" else str(user),
        users=MappingProxyType({name: User(**account) for name, account in accounts.items()}),
        workdir=str(data["workdir"]) if "workdir" in data else None,
        env=MappingProxyType(_strings(data.get("env", {}))),
        shell=bool(data.get("shell", True)),
        packages=str(data.get("packages", "")),
        toolchain=bool(data.get("toolchain", False)),
        tools=frozenset(_list(data.get("tools", []))),
        entrypoint=_list(data.get("entrypoint", [])),
        cmd=_list(data.get("cmd", [])),
        drops=str(data.get("drops", "")),
        cgo=bool(data["cgo"]) if "cgo" in data else None,
        release=_release(reference, tag),
        runtime=_runtime(reference, tag, match, _list(data.get("runtime", []))),
        source=str(data["source"]),
        date=str(data["date"]),
    )


def _list(value: object) -> tuple[str, ...]:
    assert isinstance(value, list)
    return tuple(str(item) for item in value)


def _strings(value: object) -> dict[str, str]:
    assert isinstance(value, dict)
    return {str(name): str(item) for name, item in value.items()}


def _release(reference: Reference, tag: str) -> str:
    named = next((name for name in _RELEASES if re.search(rf"(?:^|[-_]){name}(?:$|[-_])", tag)), "")
    if named:
        return named
    numbered = _NUMBERED.get(reference.repository.rsplit("/", 1)[-1], {})
    head = re.match(r"\d+(?:\.\d\d(?!\d))?", tag)
    if head is not None and numbered:
        return numbered.get(head[0]) or numbered.get(head[0].split(".")[0], "")
    distroless = re.search(r"-debian(\d+)$", reference.repository)
    return _NUMBERED["debian"].get(distroless[1], "") if distroless else ""


def _runtime(reference: Reference, tag: str, match: re.Match[str], templates: tuple[str, ...]) -> tuple[str, ...]:
    """The templates whose every part the tag spells, filled in."""
    groups = {name: text or "" for name, text in match.groupdict().items()}
    values = {"repo": reference.written, "tag": tag, **groups}
    first = re.match(r"(?:.*?[^\d.])?(\d+)", groups.get("v") or groups.get("v2") or "")
    if first is not None:
        values["major"] = first[1]
    if groups.get("d"):
        values["colon_d"] = f":{groups['d']}"
    return tuple(
        _HOLE.sub(lambda part: values.get(part["name"], ""), template)
        for template in templates
        if all(_fits(hole, values) for hole in _HOLE.finditer(template))
    )


def _fits(hole: re.Match[str], values: Mapping[str, str]) -> bool:
    value = values.get(hole["name"], "")
    return (bool(value) or bool(hole["optional"])) and (hole["choices"] is None or value in hole["choices"].split("|"))


_ALPINE = re.compile(r"(?:(?P<v>.+?)-)?alpine[\d.]*")
_PLAIN = re.compile(r"(?P<v>.+?)(?:-(?:slim|trixie|bookworm|bullseye|buster|resolute|noble|jammy|focal))*")
_TWINS = frozenset({"node", "python", "golang", "rust", "ruby", "temurin", "elixir", "bun", "php"})


def twin(ref: str, libc: Libc, *, full: bool) -> str | None:
    """The same software and version on the other C library; ``full`` asks for the variant with build tools.

    ``None`` when the image is not known to come in both kinds.
    """
    facts = lookup(ref)
    if facts is None or facts.family not in _TWINS or facts.libc is None:
        return None
    tag = facts.reference.tag or "latest"
    match = _ALPINE.fullmatch(tag) if facts.libc is Libc.MUSL else _PLAIN.fullmatch(tag)
    if match is None:
        return None
    version = "" if (match["v"] or "") in ("latest", "slim", *_RELEASES) else match["v"] or ""
    if libc is Libc.MUSL:
        made = f"{version}-alpine" if version else "alpine"
    else:
        slim = not full and facts.family in ("node", "python", "ruby", "elixir", "bun")
        made = "-".join(part for part in (version, "slim" if slim else "") if part) or "latest"
    found = facts.reference.with_tag(made)
    other = lookup(found)
    return found if other is not None and other.libc is libc else None
