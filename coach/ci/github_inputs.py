"""The ``with:`` of a step, and the build site of an action that takes the inputs of docker/build-push-action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from coach.ci import docker_cli
from coach.ci.docker_cli import Place, cache_value
from coach.ci.github_scope import Scope
from coach.ci.nouns import Value, static
from coach.ci.yamldoc import Node
from coach.model import BuildArg, BuildSite, CacheRef, Unresolved, is_file
from coach.redact import mask


class Inputs:
    """The ``with:`` of a step, filled in."""

    def __init__(self, node: Node | None, scope: Scope) -> None:
        self._node = node
        self._scope = scope

    def nodes(self) -> Mapping[str, Node]:
        return self._node.entries() if self._node is not None else {}

    def node(self, name: str) -> Node | None:
        found = self.nodes().get(name)
        return None if found is None or found.is_null else found

    def line(self, name: str) -> int:
        node = self.node(name)
        return node.key_line if node is not None else 0

    def value(self, name: str) -> Value | None:
        node = self.node(name)
        if node is None or node.text is None:
            return None
        value = self._scope.fill(node.text)
        return replace(value, text=value.text.strip() if value.text is not None else None, shown=value.shown.strip())

    def lines(self, name: str, separators: str = "\n") -> list[tuple[Value, int]]:
        """Elements of a multi-line input, each filled in, with its line."""
        node = self.node(name)
        if node is None or node.text is None:
            return []
        source = node.source()
        found: list[tuple[Value, int]] = []
        at = 0
        for line in _cut_lines(node.text):
            pieces = docker_cli.split_csv(line) if "," in separators else [line]
            for piece in pieces:
                if not piece.strip() or piece.strip().startswith("#"):
                    continue
                value = self._scope.fill(piece.strip())
                place = source.line(at + len(line) - len(line.lstrip()))
                if value.text is not None:
                    # an expression can itself hold several lines
                    found += [(static(part.strip()), place) for part in value.text.splitlines() if part.strip()]
                else:
                    found.append((value, place))
            at += len(line) + 1
        return found

    def flag(self, name: str) -> tuple[bool | None, int]:
        """A boolean input: true when it is true on some runs."""
        value = self.value(name)
        if value is None or value.shown == "":
            return False, 0
        if value.text is not None:
            return value.text.lower() == "true", self.line(name)
        if value.options:
            return any(option.lower() in ("true", "1") for option in value.options), self.line(name)
        return None, self.line(name)


def _cut_lines(text: str) -> list[str]:
    """Lines of a text; an expression that spans lines stays in one piece."""
    lines: list[str] = []
    for line in text.split("\n"):
        if lines and lines[-1].count("${{") > lines[-1].count("}}"):
            lines[-1] += "\n" + line
        else:
            lines.append(line)
    return lines


def action_site(
    place: Place,
    tool: str,
    inputs: Inputs,
    file: Value | None = None,
    context: Value | None = None,
    default_git: bool = True,
    file_in_context: bool | None = None,
) -> BuildSite:
    """The build site of an action that has the inputs of docker/build-push-action."""
    notes = list(place.unresolved)
    given = context if context is not None else inputs.value("context")
    if given is not None and not given.shown:
        given = None
    where, why, git = docker_cli.place_context(place, given, relative_default=not default_git)
    if given is None and default_git and not place.checkout:
        git = True
    if where is None:
        notes.append(Unresolved("context", why, inputs.line("context") or place.line))
    wanted = file if file is not None else inputs.value("file")
    in_context = git if file_in_context is None else file_in_context
    dockerfile, file_why = docker_cli.find_dockerfile(place, wanted, where, why, in_context)
    if dockerfile is None:
        notes.append(Unresolved("dockerfile", file_why, inputs.line("file") or place.line))
    elif wanted is not None and tool in ("kaniko", "buildah") and where and not is_file(place.tree, dockerfile):
        inside, _ = docker_cli.find_dockerfile(place, wanted, where, why, True)
        if inside is not None and is_file(place.tree, inside):
            dockerfile = inside
    target = inputs.value("target")
    if target is not None and target.text is None:
        chosen = {option for option in target.options if option}
        if len(chosen) == 1:
            target = static(chosen.pop())
        else:
            notes.append(Unresolved("target", target.why, inputs.line("target")))
    wide: dict[str, None] = {}
    for value, line in inputs.lines("platforms"):
        known, open_why = docker_cli.platforms(value)
        wide.update(dict.fromkeys(known))
        if open_why:
            notes.append(Unresolved("platforms", open_why, line))
    args: list[BuildArg] = []
    for key in ("build-args", "buildargs", "build_args"):
        for value, line in inputs.lines(key):
            made = docker_cli.build_arg(value, line)
            if made is not None:
                args.append(made)
            elif value.text is None:
                notes.append(Unresolved("build_args", value.why, line))
    caches: dict[str, list[CacheRef]] = {}
    for key, what in (("cache-from", "cache_from"), ("cache-to", "cache_to")):
        caches[what] = []
        for value, line in inputs.lines(key):
            refs, note = cache_value(value, what, line)
            caches[what] += refs
            if note is not None:
                notes.append(note)
    caches["cache_to"] += docker_cli.inline_cache(args)
    no_cache, no_cache_line = inputs.flag("no-cache")
    no_cache_value = inputs.value("no-cache")
    condition = no_cache_value.condition if no_cache_value is not None and no_cache else ""
    if no_cache is None:
        notes.append(Unresolved("no_cache", "no-cache is known only when the workflow runs", no_cache_line))
    filters = inputs.value("no-cache-filters")
    if filters is not None and filters.shown and not no_cache:
        notes.append(docker_cli.anew(filters, inputs.line("no-cache-filters")))
    push, push_line = inputs.flag("push")
    for value, line in inputs.lines("outputs"):
        if docker_cli.output_pushes(value.shown):
            push, push_line = True, line
    provenance = inputs.value("provenance")
    attested_why = ""
    if provenance is not None and provenance.shown not in ("", "false"):
        attested_why = "BuildKit's provenance attestation is attached, which is not signed"
    tags = tuple(mask(value.shown) for value, _ in inputs.lines("tags", ",\n"))
    buildkit: bool | None = True if tool in ("buildx", "depot") else False if tool == "kaniko" else None
    says = {
        "buildx": "docker/build-push-action builds with BuildKit",
        "depot": "Depot builds with BuildKit",
        "kaniko": "kaniko is not BuildKit: it has no cache mounts",
        "buildah": "buildah is not BuildKit, but honours cache mounts",
    }.get(tool, "")
    return BuildSite(
        system=place.system,
        path=place.path,
        line=place.line,
        end_line=place.end_line,
        job=place.job,
        tool=tool,
        ci=place.ci,
        dockerfile=dockerfile,
        context=where,
        target=(target.text or None) if target is not None else None,
        platforms=tuple(wide),
        platforms_line=inputs.line("platforms") if wide else 0,
        build_args=tuple(args),
        secrets=tuple(
            value.shown.partition("=")[0].removeprefix("id=")
            for key in ("secrets", "secret-envs", "secret-files")
            for value, _ in inputs.lines(key)
            if "=" in value.shown
        ),
        cache_from=tuple(caches["cache_from"]),
        cache_to=tuple(caches["cache_to"]),
        keeps_cache=place.keeps_cache,
        keeps_cache_line=place.keeps_cache_line,
        no_cache=bool(no_cache),
        no_cache_line=no_cache_line if no_cache else 0,
        no_cache_why=f"only when {condition}" if condition else "",
        buildkit=buildkit,
        buildkit_line=place.line,
        buildkit_why=says,
        driver=place.driver or ("docker" if tool == "buildx" else ""),
        runner=place.runner,
        runner_line=place.runner_line,
        emulation_line=place.emulation_line,
        push=push,
        push_line=push_line if push else 0,
        tags=tags,
        attested_why=attested_why,
        unresolved=tuple(dict.fromkeys(notes)),
    )
