"""Azure Pipelines: ``azure-pipelines*.yml`` and the templates of the repository that they use.

Language: learn.microsoft.com/azure/devops/pipelines/yaml-schema, …/process/templates, tasks Docker@2, DockerCompose@1
and Cache@2; microsoft/azure-pipelines-tasks Tasks/DockerV2 (``buildAndPush`` ignores ``arguments``) (read 2026-11).
Templates of other repositories are not read: what they build stays unresolved.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from coach.ci import commands, compose, docker_cli, jobs, paths, yamldoc
from coach.ci.commands import Text, substitute
from coach.ci.docker_cli import Arg, Flag, Invocation, Place
from coach.ci.machine import Machine, sign_off
from coach.ci.nouns import WORKSPACE, Discovery, Value, static
from coach.ci.yamldoc import Doc, Joined, Node
from coach.errors import InputError
from coach.model import BuildSite, Skipped, Tree, Unresolved, is_file
from coach.redact import credential_name, mask

MAX_DEPTH = 12
MAX_FILES = 200
MAX_LEGS = 16
_NAME = re.compile(
    r"(^|/)\.?azure[-_.]?pipelines?[\w.-]*\.ya?ml$|(^|/)(\.?(azure[-_]?(pipelines?|devops)|azdo|\.pipelines)|\.azure)/.*\.ya?ml$",
    re.I,
)
_REFERENCE = re.compile(
    r"\$\{\{\s*(parameters|variables)[.\[]['\"]?([\w.]+)['\"]?\]?\s*\}\}|\$\(([\w.]+)\)|\$\{\{.*?\}\}"
)
_PARAMETER = re.compile(r"\$\{\{\s*parameters[.\[]['\"]?(\w+)['\"]?\]?\s*\}\}")
# How a task parts its `arguments`: double quotes hold blanks.
_WORD = re.compile(r'(?:"[^"]*"|\S)+')
_WORKSPACE = frozenset({"build.sourcesdirectory", "system.defaultworkingdirectory", "build.repository.localpath"})
# Stands for the directory above the checkout, whatever it is really called: nothing of the repository is in it.
_ABOVE = "/azure/pipeline"
_HOSTED = re.compile(r"ubuntu-(?:latest|2\d\.\d\d)")
_PER_COMMIT = frozenset({"build.sourceversion", "build.buildid", "build.buildnumber"})
_LISTS = ("stages", "jobs", "steps")
_BUILDS = re.compile(r"docker|container|kaniko|buildah|\bimage|oci", re.I)
_LOOKS = re.compile(r"(?<![a-z])(?:scan|secur|lint|test|trivy|sbom|clean|deploy)", re.I)


def read(tree: Tree) -> Discovery:
    """Every build of every job of every file."""
    reader = _Reader(tree)
    wanted = [path for path in list(tree.entries()) if _NAME.search(path) and is_file(tree, path)]
    used = {name for path in wanted for name in reader.templates(path) if name != path}
    for path in wanted:
        if path not in used:
            reader.pipeline(path)
    for path in wanted:
        if path not in reader.seen:
            reader.pipeline(path)
    return Discovery(tuple(reader.builds), tuple(reader.skipped.values()))


@dataclass(frozen=True, slots=True)
class _Scope:
    """What holds at one place: variables, parameters (of steps: their nodes), pool, job, and who called the file."""

    variables: Mapping[str, Value] = field(default_factory=dict)
    parameters: Mapping[str, Value] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    pool: Node | None = None
    job: str = "steps"
    called_from: str = ""
    called_line: int = 0
    depth: int = 0

    def value(self, match: re.Match[str]) -> Value:
        """What one ``$(x)`` or ``${{ x }}`` stands for."""
        name = match[2] or match[3] or ""
        if match[3] and name.lower() in _WORKSPACE:
            return static(WORKSPACE)
        if match[3] and name.lower() == "pipeline.workspace":
            return static(_ABOVE)
        known = (self.parameters if match[1] == "parameters" else self.variables).get(name)
        if known is not None and known.text is not None and not _REFERENCE.search(known.text):
            return known
        return Value(
            None,
            match[0],
            f"{match[0]} is known only when the pipeline runs",
            secret=credential_name(name) or name.lower() == "system.accesstoken",
            per_commit=name.lower() in _PER_COMMIT,
        )

    def fill(self, text: str) -> Value:
        """``text`` with everything static put in."""
        filled = substitute(text, _REFERENCE, self.value)
        if not filled.holes:
            return static(filled.text)
        shown = _REFERENCE.sub(lambda match: self.value(match).text or match[0], text)
        hole = next((item for item in filled.holes if item.secret), filled.holes[0])
        return Value(None, shown, hole.why, hole.secret, any(item.per_commit for item in filled.holes))

    def said(self, node: Node | None) -> Value | None:
        """A scalar with everything static put in."""
        return self.fill(node.text) if node is not None and node.text is not None else None


class _Reader:
    """Reads pipelines, follows the templates of the repository."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.builds: list[BuildSite] = []
        self.skipped: dict[str, Skipped] = {}
        self.seen: set[str] = set()
        self.docs: dict[str, Doc | None] = {}

    def doc(self, path: str) -> Doc | None:
        """A file that is a mapping; anything else is noted and passed over."""
        if path not in self.docs:
            self.docs[path] = None
            if is_file(self.tree, path) and len(self.docs) <= MAX_FILES:
                try:
                    self.docs[path] = yamldoc.read(self.tree.read(path), path)
                except InputError as error:
                    self.skipped[path] = Skipped(path, error.line, error.says)
        return self.docs[path]

    def templates(self, path: str) -> set[str]:
        """Paths of the templates of this repository that a file uses."""
        doc = self.doc(path)
        found = set()
        for node in jobs.walk(doc.root) if doc is not None else ():
            named = node.get("template")
            if named is not None and named.text is not None:
                found.add(_template(named.text, path) or "")
        return found - {""}

    def pipeline(self, path: str) -> None:
        """Everything one pipeline builds, with what it signs."""
        doc = self.doc(path)
        if doc is None:
            return
        work = _Work(self, path)
        work.file(doc, _Scope(), {})
        self.builds += [site for site in sign_off(work.sites, work.signed, []) if site not in self.builds]


class _Work:
    """One pipeline as it is laid together."""

    def __init__(self, reader: _Reader, path: str) -> None:
        self.reader = reader
        self.tree = reader.tree
        self.path = path
        self.files = 0
        self.sites: list[BuildSite] = []
        self.signed: list[tuple[str, int, str]] = []

    def file(self, doc: Doc, scope: _Scope, given: Mapping[str, Node], box: Machine | None = None) -> None:
        """A pipeline, or a template with the parameters that are given to it."""
        self.files += 1
        if self.files > MAX_FILES or scope.depth > MAX_DEPTH:
            return
        self.reader.seen.add(doc.path)
        values, nodes = _parameters(doc.root.get("parameters"))
        for name, node in given.items():
            if node.text is not None:
                values[name] = scope.fill(node.text)
            else:
                nodes[name] = node
        inner = replace(scope, parameters=values, nodes=nodes)
        if box is not None:
            self._steps(doc.root.get("steps"), inner, box)
            return
        self._level(doc.root, inner)

    def _level(self, node: Node, scope: _Scope) -> None:
        """A pipeline, a stage or a job: what it sets, then what it holds."""
        if scope.depth > MAX_DEPTH:
            return
        pool = node.get("pool")
        name = node.get("job") or node.get("deployment")
        variables = {**scope.variables, **self._variables(node.get("variables"), scope)}
        scope = replace(
            scope,
            variables=variables,
            pool=pool or scope.pool,
            job=((name.text if name is not None else None) or scope.job),
            depth=scope.depth + 1,
        )
        extended = node.get("extends")
        if extended is not None and extended.is_map:
            self._template(extended, scope)
        steps = node.get("steps")
        if steps is not None:
            for leg in _legs(node.get("strategy", "matrix")):
                self._job(steps, replace(scope, variables={**variables, **leg}))
        for key in ("stages", "jobs"):
            listed = node.get(key)
            for item in listed.items() if listed is not None else ():
                self._item(item, scope)
        # strategies of deployment jobs hold steps further down
        strategy = node.get("strategy")
        for inner in jobs.walk(strategy) if strategy is not None and name is not None else ():
            held = inner.get("steps")
            if held is not None:
                self._job(held, scope)

    def _item(self, item: Node, scope: _Scope) -> None:
        """One stage or job of a list; conditions and loops are looked into."""
        if scope.depth > MAX_DEPTH:
            return
        if not item.is_map:
            given = self._given(item, scope)
            for inner in given.items() if given is not None else ():
                self._item(inner, replace(scope, depth=scope.depth + 1))
            return
        if item.get("template") is not None:
            self._template(item, scope)
            return
        held = [inner for key, inner in item.entries().items() if key.strip().startswith("${{")]
        for inner in held:
            for part in [inner] if inner.is_map else inner.items():
                self._item(part, replace(scope, depth=scope.depth + 1))
        if not held or any(item.get(key) is not None for key in (*_LISTS, "job", "stage", "deployment")):
            self._level(item, scope)

    def _given(self, item: Node, scope: _Scope) -> Node | None:
        """The list that ``- ${{ parameters.x }}`` stands for."""
        match = _PARAMETER.fullmatch((item.text or "").strip())
        found = scope.nodes.get(match[1]) if match is not None else None
        return found if found is not None and found.is_list else None

    def _template(self, item: Node, scope: _Scope, box: Machine | None = None) -> None:
        named = item.get("template")
        filled = scope.said(named)
        given = item.get("parameters")
        entries = given.entries() if given is not None and given.is_map else {}
        if filled is None or filled.text is None:
            return
        path = _template(filled.text, item.doc.path)
        doc = self.reader.doc(path) if path is not None else None
        if doc is None:
            if path is None:
                self._elsewhere(filled.text, item, entries, scope)
            return
        inner = replace(
            scope,
            called_from=scope.called_from or item.doc.path,
            called_line=scope.called_line or item.line,
            depth=scope.depth + 1,
        )
        self.file(doc, inner, entries, box)

    def _elsewhere(self, name: str, item: Node, given: Mapping[str, Node], scope: _Scope) -> None:
        """A build that a template of another repository does, as far as its name tells of one."""
        if not _BUILDS.search(name) or _LOOKS.search(name):
            return

        def said(*parts: str) -> Value | None:
            for key, node in given.items():
                if key.lower() in parts and node.text is not None:
                    return scope.fill(node.text)
            return None

        line, end = item.line, item.end_line
        place = Place(self.tree, "azure", item.doc.path, line, end, scope.job, True)
        folder = said("context", "buildcontext", "contextpath", "docker_context") or static(".")
        context, why, _ = docker_cli.place_context(place, folder)
        file = said("dockerfile", "dockerfilepath", "docker_file")
        dockerfile, file_why = docker_cli.find_dockerfile(place, file, context, why, False)
        reason = f"the build steps stand in the template {mask(name)}, which is not in this repository"
        notes = [
            Unresolved(what, reason, line)
            for what in ("cache_to", "cache_from", "no_cache", "platforms", "signed", "push")
        ]
        if context is None:
            notes.append(Unresolved("context", why, line))
        if dockerfile is None:
            notes.append(Unresolved("dockerfile", file_why, line))
        site = BuildSite(
            system="azure", path=item.doc.path, line=line, end_line=end, job=scope.job, tool="workflow", ci=True,
            dockerfile=dockerfile, context=context, push=None, unresolved=tuple(notes),
        )  # fmt: skip
        self.sites.append(site)

    def _variables(self, node: Node | None, scope: _Scope) -> dict[str, Value]:
        found = jobs.variables(node)
        for item in node.items() if node is not None and node.is_list else ():
            named = scope.said(item.get("template")) if item.is_map else None
            path = _template(named.text, item.doc.path) if named is not None and named.text is not None else None
            doc = self.reader.doc(path) if path is not None else None
            if doc is not None:
                self.reader.seen.add(doc.path)
                found |= jobs.variables(doc.root.get("variables"))
        return {name: scope.fill(value.text or "") for name, value in found.items()}

    # -- steps ---------------------------------------------------------------------------------------------------

    def _job(self, steps: Node, scope: _Scope) -> None:
        box = Machine(self.tree, "azure", self.path, scope.job)
        _pool(box, scope)
        self._steps(steps, scope, box)
        self.sites += [site for site in box.finish() if site not in self.sites]
        self.signed += box.signed

    def _steps(self, steps: Node | None, scope: _Scope, box: Machine) -> None:
        for step in steps.items() if steps is not None and scope.depth <= MAX_DEPTH else ():
            deeper = replace(scope, depth=scope.depth + 1)
            if not step.is_map:
                given = self._given(step, scope)
                if given is not None:
                    self._steps(given, deeper, box)
                continue
            if step.get("template") is not None:
                self._template(step, scope, box)
                continue
            _Step(self.tree, step, scope, box).run()
            for key, item in step.entries().items():
                if key.strip().startswith("${{"):
                    self._steps(item, deeper, box)


def script(step: Node) -> Node | None:
    """The shell text of a step that has some."""
    found = step.get("script") or step.get("bash")
    if found is None and task(step) in ("Bash", "CmdLine"):
        found = _input(step.get("inputs"), "script")
    return found if found is not None and found.text is not None else None


def task(step: Node) -> str:
    """The task of a step, without its version."""
    named = step.get("task")
    return ((named.text if named is not None else None) or "").partition("@")[0]


class _Step:
    def __init__(self, tree: Tree, step: Node, scope: _Scope, box: Machine) -> None:
        self.tree = tree
        self.step = step
        self.scope = scope
        self.box = box
        self.path = step.doc.path
        self.inputs = step.get("inputs")

    def run(self) -> None:
        named, text = task(self.step), script(self.step)
        if text is not None:
            self._shell(text)
        elif self.inputs is None:
            return
        elif named == "Docker":
            self._docker()
        elif named == "DockerCompose":
            self._compose()
        elif named == "DockerInstaller":
            # another client than the image's own
            self.box.hosted_engine = ""
        elif named == "Cache":
            kept = self.scope.said(_input(self.inputs, "path"))
            self.box.kept_paths += kept.shown.splitlines() if kept is not None else []

    def _env(self) -> dict[str, Value]:
        given = self.step.get("env")
        env = {name: self.scope.fill(item.text or "") for name, item in (given.entries() if given else {}).items()}
        return {**{name: value for name, value in self.scope.variables.items() if value.text is not None}, **env}

    def _shell(self, text: Node) -> None:
        folder = self.step.get("workingDirectory") or _input(self.inputs, "workingDirectory")
        given = self.scope.said(folder) or static("")
        cwd = paths.join("", given.text) if given.text is not None else None
        joined = Joined([text])
        if commands.INTERESTING.search(joined.text) or commands.FOLLOWED.search(joined.text):
            filled = substitute(joined.text, _REFERENCE, self.scope.value)
            caller = (self.scope.called_from, self.scope.called_line)
            self.box.run(Text(filled, self._env(), cwd), joined.place, *caller)

    def _docker(self) -> None:
        command = (self._text("command") or "buildAndPush").lower()
        if command.startswith("push"):
            self.box.pushed(Invocation("docker", "push"), self.path, self.step.line)
        if command not in ("build", "buildandpush", "build an image"):
            return
        words: list[tuple[Value, int]] = [(static("docker"), 0), (static("build"), 0)]
        file = self.scope.fill(self._text("dockerfile") or "**/Dockerfile")
        if file.text is not None and "*" in file.text:
            file = static(self._found(file.text))
        words.append((_option("--file=", file), self.step.line))
        given = _input(self.inputs, "arguments")
        if given is not None and given.text is not None and command != "buildandpush":
            source = given.source()
            words += [
                (self.scope.fill(piece[0].replace('"', "")), source.line(piece.start()))
                for piece in _WORD.finditer(given.text)
            ]
        context = self.scope.fill(self._text("buildContext") or "**")
        if context.text == "**":
            context = (
                static(posixpath.dirname(file.text) or ".") if file.text is not None else Value(None, "**", file.why)
            )
        words.append((context, self.step.line))
        repository = _input(self.inputs, "repository") or _input(self.inputs, "imageName")
        if repository is not None and repository.text is not None:
            words.insert(2, (_option("--tag=", self.scope.fill(repository.text)), repository.key_line))
        argv = [Arg(value, value.shown, number, number) for number, (value, _) in enumerate(words)]
        call = docker_cli.read(argv)
        if call is None:
            return
        lines = {number: line or self.step.line for number, (_, line) in enumerate(words)}
        before = len(self.box.sites)
        caller = (self.scope.called_from, self.scope.called_line)
        self.box.take(call, self._env(), "", self.path, self.step.line, self.step.end_line, lines, *caller)
        if command == "buildandpush":
            self.box.sites[before:] = [
                replace(site, push=True, push_line=self.step.line) for site in self.box.sites[before:]
            ]

    def _found(self, pattern: str) -> str:
        name = pattern.rsplit("/", 1)[-1]
        found = sorted(
            path for path in self.tree.entries() if posixpath.basename(path) == name and is_file(self.tree, path)
        )
        return found[0] if len(found) == 1 else pattern

    def _compose(self) -> None:
        action = (self._text("action") or "").lower()
        if "build" not in action and "run" not in action:
            return
        file = self.scope.fill(self._text("dockerComposeFile") or "**/docker-compose.yml")
        if file.text is not None and "*" in file.text:
            file = static(self._found(file.text))
        call = Invocation(
            "compose", "compose", globals=(Flag("file", Arg(file, file.shown), 0, 0),), subcommand="build"
        )
        place = self.box.place(self.path, self.step.line, self.step.end_line, "")
        found = compose.called(place, call, self._env(), {})
        self.box.add(found, self.scope.called_from, self.scope.called_line)

    def _text(self, key: str) -> str | None:
        item = _input(self.inputs, key)
        return item.text if item is not None else None


def _template(text: str, path: str) -> str | None:
    """Repository path of a template; ``None`` for one of another repository."""
    name, _, repository = text.strip().partition("@")
    if repository and repository.strip() != "self":
        return None
    return paths.join("" if name.startswith("/") else posixpath.dirname(path), name.lstrip("/"))


def _parameters(declared: Node | None) -> tuple[dict[str, Value], dict[str, Node]]:
    """Defaults of a template's parameters: texts, and lists of steps or jobs."""
    values: dict[str, Value] = {}
    nodes: dict[str, Node] = {}
    if declared is not None and declared.is_map:
        values = jobs.variables(declared)
        nodes = {name: node for name, node in declared.entries().items() if node.is_list}
    for item in declared.items() if declared is not None and declared.is_list else ():
        name, default = item.get("name"), item.get("default")
        if name is None or not name.text or default is None:
            continue
        if default.text is not None:
            values[name.text] = static(default.text)
        else:
            nodes[name.text] = default
    return values, nodes


def _legs(matrix: Node | None) -> Iterator[dict[str, Value]]:
    """Variables of each leg of a matrix."""
    legs = [leg for leg in matrix.entries().values() if leg.is_map] if matrix is not None and matrix.is_map else []
    for leg in legs[:MAX_LEGS]:
        yield jobs.variables(leg)
    if not legs:
        yield {}


def _pool(box: Machine, scope: _Scope) -> None:
    pool = scope.pool
    if pool is None:
        box.runner, box.thrown_away = "ubuntu-latest", True
    else:
        image = scope.said(pool.get("vmImage")) if pool.is_map else None
        # a text alone is the name of a pool
        named = scope.said(pool.get("name") if pool.is_map else pool)
        here = pool.doc.path == box.path
        if image is not None and (named is None or (named.text or "").startswith("Azure Pipelines")):
            written = pool.get("vmImage")
            box.runner, box.thrown_away = image.shown, True
            box.runner_line = written.key_line if here and written is not None else 0
        else:
            box.runner, box.runner_line = named.shown if named is not None else "", pool.key_line if here else 0
    if box.thrown_away and _HOSTED.fullmatch(box.runner.lower()):
        # actions/runner-images, which Azure's hosted agents run too: the engine is newer than 23.0 on all of them
        box.hosted_engine = f"the engine of {box.runner} is newer than 23.0, where BuildKit became the default"


def _input(inputs: Node | None, key: str) -> Node | None:
    """An input of a task; their names have no case."""
    for name, node in (inputs.entries() if inputs is not None else {}).items():
        if name.lower() == key.lower() and not node.is_null:
            return node
    return None


def _option(lead: str, value: Value) -> Value:
    return replace(value, text=None if value.text is None else lead + value.text, shown=lead + value.shown, options=())
