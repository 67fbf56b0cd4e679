"""Composer: composer.json with its path repositories, scripts and autoloader.

Schema: https://getcomposer.org/doc/04-schema.md, scripts: https://getcomposer.org/doc/articles/scripts.md
"""

from __future__ import annotations

from collections.abc import Mapping

from coach.manifests.files import at, strings, table
from coach.manifests.gather import Closure, Gather, Request, flag, shown, values
from coach.manifests.globs import matches

MANAGERS = frozenset(("composer",))

_EVENTS = (
    *("pre-install-cmd", "post-install-cmd", "pre-update-cmd", "post-update-cmd", "post-root-package-install"),
    *("pre-autoload-dump", "post-autoload-dump", "pre-dependencies-solving", "post-dependencies-solving"),
    *("pre-package-install", "post-package-install", "pre-operations-exec", "auto-scripts"),
)


def closure(request: Request) -> Closure | None:
    """The closure of ``composer install`` and its like; raises nothing."""
    gather = Gather(request)
    moved = values(request.words, "-d", "--working-dir")
    directory = gather.locate(moved[0]) if moved else request.directory
    if directory is None:
        gather.doubt("the directory the command works in cannot be told")
        directory = request.directory
    path = at(directory, "composer.json")
    if not gather.add(path):
        return None
    manifest = gather.json(path) or {}
    lock = at(directory, "composer.lock")
    gather.add(lock)
    gather.add_all(directory, ("symfony.lock", "auth.json"))
    _repositories(gather, directory, path, manifest)
    _extras(gather, directory, path, manifest)
    words = request.words
    dumps = any(word in ("dump-autoload", "dumpautoload") for word in words)
    if not flag(words, "--no-scripts") and not flag(words, "--no-plugins"):
        _scripts(gather, path, manifest, dumps)
    if not flag(words, "--no-autoloader") and not flag(words, "--download-only"):
        _autoloader(gather, path, manifest)
    if None in words:
        gather.doubt("a word of the command is not known before it runs")
    return gather.closure(lock if gather.has(lock) else None)


def _repositories(gather: Gather, directory: str, path: str, manifest: Mapping[str, object]) -> None:
    repositories = manifest.get("repositories")
    items = repositories if isinstance(repositories, list) else list(table(repositories).values())
    for repository in items:
        entry = table(repository)
        url = entry.get("url")
        if entry.get("type") not in ("path", "artifact") or not isinstance(url, str):
            continue
        number = gather.line(path, url)
        if not any(letter in url for letter in "*?["):
            gather.need(directory, url, path, number)
            continue
        skip = len(directory) + 1 if directory else 0
        names = [
            p[skip:-14] for p in gather.below(directory) if p.endswith("/composer.json") and "/vendor/" not in f"/{p}"
        ]
        found = [name for name in names if matches(url, name)]
        for name in found:
            gather.need(directory, name, path, number)
        if not found:
            gather.doubt(f"no package in the repository matches `{shown(url)}`", path, number)


def _extras(gather: Gather, directory: str, path: str, manifest: Mapping[str, object]) -> None:
    extra = table(manifest, "extra")
    for patches in table(extra, "patches").values():
        for patch in [*strings(patches), *(item for value in table(patches).values() for item in strings(value))]:
            if "://" not in patch:
                gather.need(directory, patch, path, gather.line(path, patch))
    for name in [*strings(extra.get("patches-file")), *strings(table(extra, "merge-plugin").get("require"))]:
        gather.need(directory, name, path, gather.line(path, name))
    for name in strings(table(extra, "merge-plugin").get("include")):
        if any(letter in name for letter in "*?["):
            gather.doubt("composer files are merged in by a pattern", path, gather.line(path, "merge-plugin"))
        else:
            gather.need(directory, name, path, gather.line(path, name))
    gather.add_all(directory, ("patches.lock.json",))


def _scripts(gather: Gather, path: str, manifest: Mapping[str, object], dumps: bool) -> None:
    scripts = table(manifest, "scripts")
    events = ("pre-autoload-dump", "post-autoload-dump") if dumps else _EVENTS
    for event in events:
        commands = scripts.get(event)
        if isinstance(commands, dict):
            commands = list(commands)
        for command in strings(commands):
            number = gather.line(path, f'"{event}"')
            if command.startswith(("@php -r", "@putenv")):
                gather.doubt(f"script `{event}` runs code of its own", path, number)
            elif command.startswith("@auto-scripts"):
                continue
            elif "::" in command:
                # A method of an installed package or of the project: either way the autoloader is asked for it.
                gather.reads(f"script `{event}` calls a class through the autoloader", path, number)
            else:
                gather.reads(f"script `{event}` runs a command of the project", path, number)


def _autoloader(gather: Gather, path: str, manifest: Mapping[str, object]) -> None:
    config = table(manifest, "config")
    words = gather.words
    optimized = (
        flag(words, "-o", "--optimize-autoloader", "--optimize", "-a", "--classmap-authoritative")
        or any(
            word is not None and word[:1] == "-" and word[1:2] != "-" and set(word[1:]) & set("oa") for word in words
        )
        or config.get("optimize-autoloader") is True
        or config.get("classmap-authoritative") is True
    )
    for section in ("autoload", "autoload-dev"):
        if section == "autoload-dev" and flag(words, "--no-dev"):
            continue
        autoload = table(manifest, section)
        number = gather.line(path, f'"{section}"')
        if autoload.get("classmap"):
            gather.reads("the autoloader lists the classes of the project's own directories", path, number)
        elif optimized and (autoload.get("psr-4") or autoload.get("psr-0")):
            gather.reads("the optimised autoloader lists the project's own classes", path, number)
