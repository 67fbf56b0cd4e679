"""What to write into a Buildkite pipeline: options of a command, or of the docker-compose plugin.

Sources (read 2026-11): github.com/buildkite-plugins/docker-compose-buildkite-plugin README (``cache-from``/``cache-to``
as ``service:SPEC`` and ``builder``, since v5), buildkite.com/docs/pipelines/configure/environment-variables (a dollar
that the shell is to see is doubled).
"""

from __future__ import annotations

import re

from coach.ci import buildkite, command_edit, compose_change, guidance, yamldoc, yamledit
from coach.ci.nouns import AddCache, SecretArgs, Want
from coach.ci.yamldoc import Node
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Remedy, Safety, Tree

_BY_HAND = """With the docker-compose plugin (v5 or newer):

```yaml
      - docker-compose#v5.2.0:
          build: app
          push: app:<image>:<tag>
          cache-from: ["app:type=registry,ref=<image>:buildcache"]
          cache-to: ["app:type=registry,ref=<image>:buildcache,mode=max"]
          builder: {create: true, use: true, name: ci, driver: docker-container}
```"""


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for a build that a step's commands or plugin make."""
    snippet = _BY_HAND if isinstance(want, AddCache) else ""
    return guidance.edited(build, want, lambda: _change(tree, build, want), snippet)


def _change(tree: Tree, build: BuildSite, want: Want) -> Remedy | None:
    path = build.called_from or build.path
    doc = yamldoc.read(tree.read(path), path)
    if isinstance(want, SecretArgs) and build.defined_in:
        return compose_change.secret_args(tree, build, want)
    steps = list(buildkite.steps(doc))
    plugins = [given for step in steps for given in buildkite.compose_plugins(step)]
    given = next((given for given in plugins if given.key_line == build.line), None)
    if given is not None and not build.called_from:
        return _plugin(build, want, given) if isinstance(want, AddCache) else None
    return command_edit.scripted(
        tree,
        build,
        want,
        (buildkite.script(step) for step in steps),
        outlives=True,
        encode=lambda text: text.replace("$", "$$"),
    )


def _plugin(build: BuildSite, want: AddCache, given: Node) -> Remedy:
    name = str(given.key.value) if given.key is not None else ""
    version = re.search(r"#v(\d+)", name)
    if version is None or int(version[1]) < 5:
        raise CannotEditError(f"{name} is older than v5, which cannot export a cache")
    if build.cache_from or build.cache_to or any(given.get(key) is not None for key in ("cache-from", "cache-to")):
        raise CannotEditError("the plugin or the compose file has cache options already")
    built = given.get("build")
    services = [text for text, _ in built.texts()] if built is not None else []
    if len(services) != 1:
        raise CannotEditError("the plugin builds several services, each of which needs a cache of its own")
    pushed = given.get("push")
    targets = [text.partition(":")[2] for text, _ in pushed.texts()] if pushed is not None else []
    repository = next((found for text in targets if (found := command_edit.repository_of(text)) and "/" in found), "")
    if not repository:
        raise CannotEditError("where the plugin pushes the image, beside which a cache could lie, is not written there")
    place = f"{repository}:buildcache{f'-{want.scope}' if want.scope else ''}"
    came, goes = command_edit.registry_cache(place)
    entries = [("cache-from", ["", f"  - {services[0]}:{came}"]), ("cache-to", ["", f"  - {services[0]}:{goes}"])]
    reasons = command_edit.why_registry(place)
    if given.get("builder") is None:
        entries.append(("builder", ["", "  create: true", "  use: true", "  name: ci", "  driver: docker-container"]))
        reasons += ("the plugin makes a builder of its own, because the engine's default one cannot export this cache",)
    edit = yamledit.add_keys(given, entries)
    return Remedy(Safety.REVIEW, (edit,), reasons, command_edit.says_kept(build, place))
