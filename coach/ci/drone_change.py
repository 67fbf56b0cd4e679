"""What to write into a Drone or Woodpecker pipeline: settings of the plug-in that builds, or options of a command.

Sources (read 2026-11): github.com/drone-plugins/drone-buildx, app.go and docker.go (``cache_from``/``cache_to``, with
which it makes a builder that can export; ``secrets_from_env`` as ``id=VARIABLE``);
github.com/drone-plugins/drone-docker (``cache_from`` names images to pull; no export);
github.com/woodpecker-ci/plugin-docker-buildx, docs.md (``cache_images`` imports and exports with ``mode=max``);
github.com/woodpecker-ci/plugin-kaniko README (``cache``).
"""

from __future__ import annotations

from collections.abc import Sequence

from coach.ci import command_edit, drone, guidance, yamldoc, yamledit
from coach.ci.nouns import AddCache, SecretArgs, Want
from coach.ci.yamldoc import Node
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Edit, Remedy, Safety, Tree

_BUILDX = """With `plugins/buildx` in place of `plugins/docker` (the server has to list it as a privileged plug-in):

```yaml
    image: plugins/buildx
    settings:
      cache_from: type=registry,ref=<repo>:buildcache
      cache_to: type=registry,ref=<repo>:buildcache,mode=max
```"""
_BY_HAND = """The plug-in of Drone takes a secret from a variable of its step:

```yaml
    settings:
      secrets_from_env: [name=NAME]
    environment:
      NAME: {from_secret: name}
```"""


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for a build that a step's plug-in or commands make."""
    snippet = _BUILDX if isinstance(want, AddCache) else _BY_HAND if isinstance(want, SecretArgs) else ""
    if build.defined_in or build.called_from:
        snippet = ""
    return guidance.edited(build, want, lambda: _change(tree, build, want), snippet)


def _change(tree: Tree, build: BuildSite, want: Want) -> Remedy | None:
    doc = yamldoc.Doc(tree.read(build.called_from or build.path), build.called_from or build.path)
    steps = [step for root in doc.roots for step in drone.steps(root)]
    step = next((step for step in steps if step.line <= build.line <= step.end_line), None)
    name = drone.plugin(step) if step is not None else ""
    if step is None or not name:
        return command_edit.scripted(tree, build, want, (drone.script(step) for step in steps))
    settings = step.get("settings")
    if settings is None or not settings.is_map:
        raise CannotEditError("the settings of the plug-in are not written at the step")
    yamledit.own(settings, step.line, step.end_line)
    if isinstance(want, AddCache):
        return _cache(build, want, name, settings)
    if isinstance(want, SecretArgs):
        return _secrets(build, want, name, settings)
    return None


def _cache(build: BuildSite, want: AddCache, name: str, settings: Node) -> Remedy:
    place = _place(build, want, settings)
    reasons = command_edit.why_registry(place)
    entries: list[tuple[str, str | Sequence[str]]]
    if "kaniko" in name:
        entries = [("cache" if "plugin-kaniko" in name else "enable_cache", "true")]
        if settings.get(entries[0][0]) is not None:
            raise CannotEditError("the setting is there already")
        place = f"{place.partition(':buildcache')[0]}/cache"
        reasons = command_edit.why_registry(place)
    elif build.cache_from or build.cache_to:
        raise CannotEditError("the plug-in has cache settings of its own already")
    elif "plugin-docker-buildx" in name:
        entries = [("cache_images", place if settings.flow else ["", f"  - {place}"])]
    elif "buildx" in name:
        came, goes = command_edit.registry_cache(place)
        entries = [("cache_from", came), ("cache_to", goes)]
        reasons += ("old versions of the plug-in part these settings at their commas",)
    else:
        raise CannotEditError(f"{name.partition(':')[0]} exports no cache, and an inline one holds the last stage only")
    return Remedy(
        Safety.REVIEW,
        (yamledit.add_keys(settings, entries),),
        reasons,
        f"`{build.path}` line {build.line} keeps its layers at `{place}`. {command_edit.MOUNTS}"
        if "kaniko" in name
        else command_edit.says_kept(build, place),
    )


def _place(build: BuildSite, want: AddCache, settings: Node) -> str:
    repo = settings.get("repo")
    names = drone.repositories(repo) if repo is not None else []
    if not names or not build.push:
        raise CannotEditError("the plug-in pushes nowhere, so there is no place beside the image for a cache")
    return f"{names[0]}:buildcache{f'-{want.scope}' if want.scope else ''}"


def _secrets(build: BuildSite, want: SecretArgs, name: str, settings: Node) -> Remedy:
    if "plugins/" not in name or "kaniko" in name:
        raise CannotEditError(f"how {name.partition(':')[0]} hands over a secret of several fields is not documented")
    listed = next((node for key in drone.FROM_ENV if (node := settings.get(key)) is not None), None)
    items = list(listed.items()) if listed is not None else []
    moved = {item.text: want.names[item.text] for item in items if item.text in want.names and item.text}
    if listed is None or set(moved) != set(want.names):
        raise CannotEditError("the arguments are not taken from variables of the step (`build_args_from_env`)")
    if settings.get("secrets_from_env") is not None:
        raise CannotEditError("the plug-in has secrets already, which the new ones have to fit")
    kept = [item.text or "" for item in items if item.text not in moved]
    entries = [f"{ident}={variable}" for variable, ident in moved.items()]
    indent = yamledit.key_indent(settings)
    lines = [f"{indent}secrets_from_env:", *(f"{indent}  - {entry}" for entry in entries)]
    if not kept:
        span = settings.doc.line_span(listed.key_line, listed.end_line)
        block = b"".join(line.encode() + settings.doc.eol for line in lines)
        ended = settings.doc.content[span.start : span.end].endswith(b"\n")
        return command_edit.handed_over(
            build, want, [Edit(build.path, span, block if ended else block[: -len(settings.doc.eol)])]
        )
    if listed.flow:
        raise CannotEditError("the arguments are written in brackets on one line")
    edits = [yamledit.delete_lines(settings.doc, item.line, item.end_line) for item in items if item.text in moved]
    edits.append(yamledit.insert_before(settings.doc, listed.key_line, lines))
    return command_edit.handed_over(build, want, edits)
