"""The steps of one GitHub job, local composite actions included: what each does to the job's machine."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from coach.ci import bake, commands, docker_cli, paths, yamldoc
from coach.ci.commands import Text
from coach.ci.docker_cli import Arg, Invocation
from coach.ci.expressions import Hole, as_text
from coach.ci.github_inputs import Inputs, action_site
from coach.ci.github_scope import Scope, hole_of, plain
from coach.ci.machine import Machine
from coach.ci.nouns import WORKSPACE, Value, differs_per_commit, static
from coach.ci.yamldoc import Doc, Node
from coach.errors import InputError
from coach.model import BuildSite, Tree, Unresolved, is_file
from coach.redact import mask

MAX_NESTING = 6
_WRITES = re.compile(r"GITHUB_(ENV|OUTPUT)\b")


class Files:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.docs: dict[str, Doc] = {}

    def get(self, path: str) -> Doc:
        if path not in self.docs:
            self.docs[path] = yamldoc.read(self.tree.read(path), path)
        return self.docs[path]


@dataclass(frozen=True, slots=True)
class Use:
    """One step that uses an action: ``path`` and ``line`` of its ``uses:``, ``caller`` for a composite action."""

    name: str
    inputs: Inputs
    path: str
    line: int
    end: int
    caller: tuple[str, int]


_CACHING_ACTIONS = {
    "satackey/action-docker-layer-caching": "the layers are kept by satackey/action-docker-layer-caching",
    "jpribyl/action-docker-layer-caching": "the layers are kept by jpribyl/action-docker-layer-caching",
    "scribemd/docker-cache": "the images are kept by ScribeMD/docker-cache",
    "whoan/docker-build-with-cache-action": "whoan/docker-build-with-cache-action pulls the stages of the last build",
    "useblacksmith/setup-docker-builder": "Blacksmith's builder keeps the cache on a sticky disk",
    "useblacksmith/stickydisk": "a sticky disk keeps what the job leaves on it",
    "namespacelabs/nscloud-setup-buildx-action": "Namespace's remote builder keeps the cache",
    "namespacelabs/nscloud-setup": "Namespace's remote builder keeps the cache",
    "depot/use-action": "Depot's builders keep the cache",
}
_BUILD_ACTIONS = {
    "docker/build-push-action": ("buildx", ""),
    "depot/build-push-action": ("depot", "Depot's builders keep the cache"),
    "useblacksmith/build-push-action": ("buildx", "Blacksmith's builder keeps the cache on a sticky disk"),
    "warpbuilds/build-push-action": ("buildx", "WarpBuild's remote builder keeps the cache"),
}
_BAKE_ACTIONS = {
    "docker/bake-action": ("bake", ""),
    "depot/bake-action": ("depot", "Depot's builders keep the cache"),
    "useblacksmith/bake-action": ("bake", "Blacksmith's builder keeps the cache on a sticky disk"),
}
_ATTESTING = {
    "actions/attest-build-provenance": "a signed provenance attestation",
    "actions/attest": "a signed attestation",
}
_RETRY = frozenset({"nick-fields/retry", "nick-invision/retry", "wandalen/wretry.action"})


class Steps:
    """Reads the steps of one job (for one matrix combination) in the order they run."""

    def __init__(self, files: Files, box: Machine, scope: Scope, directory: Value | None) -> None:
        self.files = files
        self.tree = files.tree
        self.box = box
        self.scope = scope
        self.directory = directory

    def steps(self, steps: Node, doc: Doc, depth: int, caller: tuple[str, int] = ("", 0)) -> None:
        """Run over a list of steps of ``doc``; ``caller`` is the workflow line that leads to a composite action."""
        for step in steps.items():
            if not step.is_map:
                continue
            condition = step.get("if")
            if condition is not None and condition.text in ("false", "${{ false }}"):
                continue
            outer = self.scope.env
            self.scope.env = self.scope.environment(step.get("env"), outer)
            written: dict[str, Value] = {}
            uses, run = step.get("uses"), step.get("run")
            if uses is not None and uses.text is not None:
                written = self._uses(step, uses, doc, depth, caller)
            elif run is not None and run.text is not None:
                written = self._run(step, run, doc, caller)
            self.scope.env = {**outer, **written}

    # -- run -------------------------------------------------------------------------------------------------------

    def _run(self, step: Node, run: Node, doc: Doc, caller: tuple[str, int]) -> dict[str, Value]:
        text = run.text or ""
        writes = _WRITES.search(text)
        if not writes and not (commands.INTERESTING.search(text) or commands.FOLLOWED.search(text)):
            return {}
        shell_name = step.get("shell")
        if shell_name is not None and (shell_name.text or "").split()[:1] in (
            ["python"],
            ["pwsh"],
            ["powershell"],
            ["cmd"],
            ["node"],
        ):
            return {}
        source = run.source()
        filled = self.scope.shell(text)
        directory = step.get("working-directory")
        wanted = (
            self.scope.fill(directory.text) if directory is not None and directory.text is not None else self.directory
        )
        cwd: str | None = ""
        if wanted is not None:
            filled_directory = self.scope.fill(wanted.shown)
            cwd = paths.join("", filled_directory.text) if filled_directory.text is not None else None
        shell_text = Text(filled, self._shell_env(), cwd)
        self.box.run(shell_text, source.place, *self._caller(doc, caller))
        return self._written(step, shell_text) if writes else {}

    def _caller(self, doc: Doc, caller: tuple[str, int]) -> tuple[str, int]:
        return caller if doc.path != self.box.path else ("", 0)

    def _shell_env(self) -> dict[str, Value]:
        return {
            "GITHUB_WORKSPACE": static(WORKSPACE),
            "GITHUB_SHA": Value(None, "$GITHUB_SHA", "GITHUB_SHA differs on every commit", per_commit=True),
            **self.scope.env,
        }

    def _written(self, step: Node, text: Text) -> dict[str, Value]:
        """What a script hands to later steps through ``$GITHUB_ENV`` (returned) and ``$GITHUB_OUTPUT`` (kept)."""
        env: dict[str, Value] = {}
        outputs: dict[str, object] = {}
        for command in commands.script_of(text).commands:
            into = next((_WRITES.search(item.target.raw) for item in command.redirects if ">" in item.operator), None)
            if into is None or command.name not in ("echo", "printf"):
                continue
            for word in command.peeled[1:]:
                value = commands.word_value(word, text.source.holes, text.env)
                shown = value.text if value.text is not None else value.shown
                name, eq, rest = shown.partition("=")
                if not eq or not re.fullmatch(r"[A-Za-z_][\w.-]*", name):
                    continue
                if value.text is not None and not command.guarded:
                    made = static(rest)
                elif value.text is not None:
                    known = env.get(name) or self.scope.env.get(name)
                    before = (known.options or (known.text,)) if known is not None else ()
                    made = Value(
                        None,
                        f"${name}",
                        "it depends on a condition in the script",
                        options=tuple(dict.fromkeys([*(item for item in before if item is not None), rest])),
                    )
                else:
                    made = Value(None, rest, value.why, value.secret, value.per_commit or differs_per_commit(word.raw))
                if into[1] == "ENV":
                    env[name] = made
                else:
                    outputs[name] = hole_of(made)
        identity = step.get("id")
        if outputs and identity is not None and identity.text is not None:
            self.scope.steps.setdefault(identity.text, {}).update(outputs)
        return env

    # -- uses ------------------------------------------------------------------------------------------------------

    def _uses(self, step: Node, uses: Node, doc: Doc, depth: int, caller: tuple[str, int]) -> dict[str, Value]:
        target = (uses.text or "").strip()
        given = step.get("with")
        inputs = Inputs(given, self.scope)
        name = target.partition("@")[0].lower().strip("/")
        use = Use(name, inputs, doc.path, uses.line, step.end_line, self._caller(doc, caller))
        if target.startswith(("./", ".\\")):
            return self._local(step, uses, target, inputs, doc, depth, caller)
        if target.startswith("docker://"):
            self._image(use, target[9:])
        elif name in _HANDLERS:
            _HANDLERS[name](self, use)
        elif name in _ATTESTING:
            self.box.attested.append((doc.path, uses.line, _ATTESTING[name]))
        elif name in _RETRY:
            self._retry(inputs, doc, caller)
        elif name in _OTHER_BUILDERS:
            self._other(use)
        elif name in _CACHING_ACTIONS:
            self._keep(use)
        return {}

    def _keep(self, use: Use) -> None:
        self.box.keeps = _CACHING_ACTIONS[use.name]
        self.box.keeps_line = use.line if use.path == self.box.path else 0
        if use.name.startswith(("useblacksmith/setup-docker", "namespacelabs/")):
            self.box.driver = "remote"

    def _setup_buildx(self, use: Use) -> None:
        driver = use.inputs.value("driver")
        self.box.driver = (driver.text if driver is not None else None) or "docker-container"
        keep = use.inputs.value("keep-state")
        self.box.fresh = self.box.driver == "docker-container" and not (keep is not None and keep.text == "true")
        install = use.inputs.value("install")
        self.box.installed = install is not None and install.text == "true"
        endpoint = use.inputs.value("endpoint")
        line = use.line if use.path == self.box.path else 0
        if self.box.driver in docker_cli.DRIVERS_THAT_KEEP:
            self.box.keeps, self.box.keeps_line = docker_cli.DRIVERS_THAT_KEEP[self.box.driver], line
        elif endpoint is not None and re.match(r"(tcp|ssh|unix)://", endpoint.shown):
            self.box.keeps, self.box.keeps_line = "the Docker endpoint given to the builder keeps the cache", line

    def _setup_qemu(self, use: Use) -> None:
        self.box.emulation_line, self.box.emulation_path = use.line, use.path

    def _checkout(self, use: Use) -> None:
        repository, path = use.inputs.value("repository"), use.inputs.value("path")
        own = (
            repository is None
            or not repository.shown
            or "github.repository" in repository.shown
            or "head.repo" in repository.shown
        )
        where = paths.join("", path.text) if path is not None and path.text else ""
        if own and where:
            self.box.checkout = where
        elif not own and where:
            self.box.foreign[where] = f"the repository {mask(repository.shown)}" if repository is not None else ""

    def _cache(self, use: Use) -> None:
        path = use.inputs.value("path")
        if path is not None:
            self.box.kept_paths += [line.strip() for line in path.shown.splitlines() if line.strip()]

    def _build(self, use: Use) -> None:
        tool, keeps = _BUILD_ACTIONS[use.name]
        place = self.box.place(use.path, use.line, use.end, "")
        site = action_site(place, tool, use.inputs, default_git=use.name == "docker/build-push-action")
        # a name alone is filled in by the client, out of the step's variables
        alone = {value.shown.strip() for value, _ in use.inputs.lines("build-args")} & self.scope.env.keys()
        given = {name: self.scope.env[name] for name in alone}
        args = (
            replace(arg, secret=given[arg.name].secret, per_commit=given[arg.name].per_commit)
            if arg.name in given
            else arg
            for arg in site.build_args
        )
        site = replace(site, build_args=tuple(args))
        if keeps:
            site = replace(site, keeps_cache=keeps, keeps_cache_line=use.line)
        builder = use.inputs.value("builder")
        if builder is not None and builder.shown.startswith("cloud-"):
            site = replace(
                site, keeps_cache=docker_cli.DRIVERS_THAT_KEEP["cloud"], keeps_cache_line=use.inputs.line("builder")
            )
        self.box.add([site], *use.caller)

    def _bake(self, use: Use) -> None:
        _, keeps = _BAKE_ACTIONS[use.name]
        directory = use.inputs.value("workdir")
        source = use.inputs.value("source")
        cwd: str | None = ""
        for value in (directory, source):
            if (
                value is not None
                and value.shown
                and not paths.is_remote(value.shown)
                and "{{defaultContext}}" not in value.shown
            ):
                cwd = paths.join(cwd or "", value.text) if value.text is not None else None
        place = self.box.place(use.path, use.line, use.end, cwd)
        overrides = [
            parsed for text, line in use.inputs.lines("set") if (parsed := bake.parse_set(text, line)) is not None
        ]
        names = [
            replace(value, text=part, shown=part)
            for value, _ in use.inputs.lines("targets")
            for part in re.split(r"[,\s]+", value.text or "")
            if part
        ]
        names += [value for value, _ in use.inputs.lines("targets") if value.text is None]
        files = [value for value, _ in use.inputs.lines("files", ",\n")]
        push, no_cache = use.inputs.flag("push"), use.inputs.flag("no-cache")
        switches = BuildSite(
            system="", path="", line=0, end_line=0, job="", tool="bake", ci=True, dockerfile=None, context=None,
            push=push[0], push_line=push[1], no_cache=bool(no_cache[0]), no_cache_line=no_cache[1],
            keeps_cache=keeps, keeps_cache_line=use.line if keeps else 0,
        )  # fmt: skip
        env = {**self.scope.env}
        self.box.add(bake.called(place, names, files, overrides, env, switches), *use.caller)

    def _buildah(self, use: Use) -> None:
        place = self.box.place(use.path, use.line, use.end, "")
        files = [value for key in ("containerfiles", "dockerfiles") for value, _ in use.inputs.lines(key)]
        given: list[Value | None] = [*files] or [None]
        for file in given:
            site = action_site(place, "buildah", use.inputs, file=file, default_git=False, file_in_context=False)
            wide = [
                value for key in ("platforms", "platform", "archs", "arch") for value, _ in use.inputs.lines(key, ",\n")
            ]
            platforms = tuple(dict.fromkeys(item for value in wide for item in docker_cli.platforms(value)[0]))
            site = replace(
                site, platforms=platforms, platforms_line=use.inputs.line("platforms") or use.inputs.line("archs")
            )
            self.box.add([site], *use.caller)

    def _pushed(self, use: Use) -> None:
        self.box.pushed(Invocation("docker", "push"), use.path, use.line)

    def _kaniko(self, use: Use) -> None:
        place = self.box.place(use.path, use.line, use.end, "")
        site = action_site(
            place,
            "kaniko",
            use.inputs,
            file=use.inputs.value("file") or use.inputs.value("build_file"),
            default_git=False,
        )
        cache = use.inputs.value("cache")
        if cache is not None and cache.shown == "true":
            site = replace(
                site, keeps_cache="kaniko's layer cache in the registry", keeps_cache_line=use.inputs.line("cache")
            )
        if use.name != "int128/kaniko-action":
            site = replace(site, push=True)
        self.box.add([site], *use.caller)

    def _image(self, use: Use, image: str) -> None:
        if "kaniko" not in image:
            return
        arguments = use.inputs.value("args")
        words = [Arg(static(word), word) for word in (arguments.shown if arguments is not None else "").split()]
        call = docker_cli.read([Arg(static("kaniko"), "kaniko"), *words])
        if call is not None:
            self.box.take(call, self._shell_env(), "", use.path, use.line, use.end, {}, *use.caller)

    def _retry(self, inputs: Inputs, doc: Doc, caller: tuple[str, int]) -> None:
        node = inputs.node("command")
        if node is None or node.text is None:
            return
        text = Text(self.scope.shell(node.text), self._shell_env(), "")
        self.box.run(text, node.source().place, *self._caller(doc, caller))

    def _other(self, use: Use) -> None:
        """Wrappers of ``docker build`` whose inputs go by other names."""
        file_key, context_key = _OTHER_BUILDERS[use.name]
        place = self.box.place(use.path, use.line, use.end, "")
        file = use.inputs.value(file_key)
        context = use.inputs.value(context_key) if context_key else None
        site = action_site(
            place,
            "action",
            use.inputs,
            file=file,
            context=context or static("."),
            default_git=False,
            file_in_context=False,
        )
        note = f"{use.name} runs docker build by its own rules"
        keeps = _CACHING_ACTIONS.get(use.name, "")
        site = replace(
            site,
            push=True,
            push_line=use.line,
            keeps_cache=keeps,
            keeps_cache_line=use.line if keeps else 0,
            unresolved=(*site.unresolved, Unresolved("cache_to", note, use.line)),
        )
        self.box.add([site], *use.caller)

    def _local(
        self, step: Node, uses: Node, target: str, inputs: Inputs, doc: Doc, depth: int, caller: tuple[str, int]
    ) -> dict[str, Value]:
        """A composite action of this repository."""
        folder = paths.join("", target.replace("\\", "/"))
        if folder is not None and self.box.checkout and folder.startswith(self.box.checkout + "/"):
            folder = folder[len(self.box.checkout) + 1 :]
        if folder is None or depth >= MAX_NESTING:
            return {}
        path = next(
            (
                posixpath.join(folder, name)
                for name in ("action.yml", "action.yaml")
                if is_file(self.tree, posixpath.join(folder, name))
            ),
            None,
        )
        if path is None:
            return {}
        try:
            action = self.files.get(path)
        except InputError:
            self.box.notes.append(Unresolved("cache_to", f"{path} cannot be read", uses.line))
            return {}
        steps = action.root.get("runs", "steps")
        if steps is None:
            return {}
        declared = action.root.get("inputs")
        values: dict[str, object] = {}
        for name, node in declared.entries().items() if declared is not None else ():
            default = node.get("default")
            values[name] = plain(default, self.scope) if default is not None else ""
            if isinstance(values[name], bool):
                values[name] = as_text(values[name])
        values |= {name: _as_string(plain(node, self.scope)) for name, node in inputs.nodes().items()}
        outer = self.scope
        # a composite action sees its own inputs and steps, and the job's environment
        self.scope = Scope(dict(outer.env), outer.matrix, values, {}, outer.needs, outer.arm, folder)
        directory, self.directory = self.directory, None
        before = dict(outer.env)
        self.steps(steps, action, depth + 1, caller if caller[0] else (doc.path, uses.line))
        inner, self.scope, self.directory = self.scope, outer, directory
        outputs = action.root.get("outputs")
        identity = step.get("id")
        if outputs is not None and identity is not None and identity.text is not None:
            outer.steps[identity.text] = {
                name: plain(value, inner)
                for name, node in outputs.entries().items()
                if (value := node.get("value")) is not None
            }
        return {name: value for name, value in inner.env.items() if before.get(name) != value}


_HANDLERS: dict[str, Callable[[Steps, Use], None]] = {
    "docker/setup-buildx-action": Steps._setup_buildx,
    "docker/setup-qemu-action": Steps._setup_qemu,
    "actions/checkout": Steps._checkout,
    "actions/cache": Steps._cache,
    "actions/cache/restore": Steps._cache,
    "buildjet/cache": Steps._cache,
    "useblacksmith/cache": Steps._cache,
    "runs-on/cache": Steps._cache,
    "redhat-actions/buildah-build": Steps._buildah,
    "redhat-actions/push-to-registry": Steps._pushed,
    "aevea/action-kaniko": Steps._kaniko,
    "int128/kaniko-action": Steps._kaniko,
    "imjasonh/action-kaniko": Steps._kaniko,
    **dict.fromkeys(_BUILD_ACTIONS, Steps._build),
    **dict.fromkeys(_BAKE_ACTIONS, Steps._bake),
}
_OTHER_BUILDERS = {
    "elgohr/publish-docker-github-action": ("dockerfile", "context"),
    "whoan/docker-build-with-cache-action": ("dockerfile", "context"),
    "mr-smithers-excellent/docker-build-push": ("dockerfile", "directory"),
    "macbre/push-to-ghcr": ("dockerfile", "context"),
    "jerray/publish-docker-action": ("file", "path"),
    "vaultwarden/docker-build-push": ("file", "context"),
}


def _as_string(value: object) -> object:
    return value if isinstance(value, Hole | str) else as_text(value)
