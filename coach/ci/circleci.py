"""CircleCI: ``.circleci/config.yml`` with its commands, executors, parameters and matrices.

Language: circleci.com/docs/configuration-reference, circleci.com/docs/docker-layer-caching (read 2026-11).
Orbs are code of other repositories: what they build stays unresolved.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from coach.ci import commands, docker_cli, paths, yamldoc
from coach.ci.commands import Text, substitute
from coach.ci.docker_cli import Place
from coach.ci.jobs import walk
from coach.ci.machine import Machine, sign_off
from coach.ci.nouns import WORKSPACE, Discovery, Value, differs_per_commit, static
from coach.ci.yamldoc import Doc, Node
from coach.errors import InputError
from coach.model import BuildSite, Skipped, Tree, Unresolved, is_file

ROOTS = (".circleci/config.yml", ".circleci/config.yaml", "circle.yml")
MAX_DEPTH = 8
MAX_RUNS = 300
PARAMETER = re.compile(r"<<\s*([\w.-]+)\s*>>")
_ENGINE = re.compile(r"^(\d+)\.")
_CLIENT = re.compile(r"(?:^|/)docker:(\d+)")
_KNOWN = {
    "CIRCLE_SHA1": Value(None, "$CIRCLE_SHA1", "CIRCLE_SHA1 differs on every commit", per_commit=True),
    "CIRCLE_BUILD_NUM": Value(None, "$CIRCLE_BUILD_NUM", "CIRCLE_BUILD_NUM differs on every run", per_commit=True),
    "CIRCLE_WORKING_DIRECTORY": static(WORKSPACE),
}
_DLC = "CircleCI's Docker layer caching keeps the engine's layers"


def read(tree: Tree) -> Discovery:
    """Every build of every job that a workflow runs."""
    builds: list[BuildSite] = []
    skipped: list[Skipped] = []
    todo = [path for path in ROOTS if is_file(tree, path)]
    for path in todo:
        try:
            doc = yamldoc.read(tree.read(path), path)
            setup = doc.root.get("setup")
            if setup is not None and setup.text == "true":
                todo += [other for other in _continued(tree) if other not in todo]
            builds += Config(tree, doc).sites()
        except InputError as error:
            skipped.append(Skipped(path, error.line, error.says))
    return Discovery(tuple(builds), tuple(skipped))


def _continued(tree: Tree) -> list[str]:
    """Configurations that a setup workflow can continue with: files beside it that hold workflows."""
    return [
        path
        for path in tree.entries()
        if path.startswith(".circleci/")
        and path.endswith((".yml", ".yaml"))
        and is_file(tree, path)
        and re.search(rb"^workflows\s*:", tree.read(path), re.M)
    ][:MAX_RUNS]


def runs(doc: Doc) -> list[Node]:
    """Every ``run`` step of the jobs and the commands of a configuration: its shell text."""
    found: dict[int, Node] = {}
    for key in ("jobs", "commands"):
        held = doc.root.get(key)
        for holder in walk(held) if held is not None else ():
            run = holder.get("run")
            text = run.get("command") if run is not None and run.is_map else run
            if text is not None and text.text is not None:
                found.setdefault(id(text.node), text)
    return list(found.values())


@dataclass(slots=True)
class Scope:
    """Parameters in force; each is a text, or a ``Value`` without one."""

    parameters: dict[str, Value] = field(default_factory=dict)

    def lookup(self, name: str) -> Value:
        """``parameters.x`` and ``pipeline.x``."""
        if name.startswith("parameters."):
            return self.parameters.get(name[11:], static(""))
        if name.startswith("pipeline.parameters."):
            known = self.parameters.get(f"pipeline.{name[20:]}")
            return (
                known if known is not None else Value(None, f"<< {name} >>", f"{name} is set when the pipeline starts")
            )
        return Value(
            None,
            f"<< {name} >>",
            f"{name} is known only when the pipeline runs",
            per_commit=name in ("pipeline.git.revision", "pipeline.id", "pipeline.number") or differs_per_commit(name),
        )

    def fill(self, text: str) -> Value:
        """``text`` with its parameters replaced where they are static."""
        filled = substitute(text, PARAMETER, lambda match: self.lookup(match[1]))
        if not filled.holes:
            return static(filled.text)
        shown = PARAMETER.sub(lambda match: self.lookup(match[1]).text or match[0], text)
        hole = filled.holes[0]
        return Value(None, shown, hole.why, hole.secret, any(item.per_commit for item in filled.holes))


class Config:
    """One configuration file."""

    def __init__(self, tree: Tree, doc: Doc) -> None:
        self.tree = tree
        self.doc = doc
        self.root = doc.root
        self.runs = 0
        self.pipeline = {
            f"pipeline.{name}": value for name, value in self._parameters(self.root.get("parameters"), {}).items()
        }

    def sites(self) -> list[BuildSite]:
        jobs = self.root.get("jobs")
        found: list[BuildSite] = []
        signed: list[tuple[str, int, str]] = []
        attested: list[tuple[str, int, str]] = []
        started: set[str] = set()
        workflows = self.root.get("workflows")
        for workflow in workflows.entries().values() if workflows is not None else ():
            listed = workflow.get("jobs")
            for item in listed.items() if listed is not None else ():
                for name, given, node in _invocations(item):
                    if jobs is None or jobs.get(name) is None:
                        found += self._orb_job(name, given, node)
                        continue
                    started.add(name)
                    for parameters in _combinations(given):
                        box = self._job(name, jobs.entries()[name], parameters)
                        if box is not None:
                            found += [site for site in box.finish() if site not in found]
                            signed += box.signed
                            attested += box.attested
        if not started:
            for name, job in jobs.entries().items() if jobs is not None else ():
                box = self._job(name, job, {})
                if box is not None:
                    found += box.finish()
                    signed += box.signed
                    attested += box.attested
        return sign_off(found, signed, attested)

    def _parameters(self, declared: Node | None, given: Mapping[str, Value]) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for name, node in declared.entries().items() if declared is not None else ():
            default = node.get("default")
            if name in given:
                found[name] = given[name]
            elif default is not None and default.text is not None:
                found[name] = static(default.text)
            elif default is None and node.get("default") is None and "default" not in node.entries():
                found[name] = Value(None, f"<< parameters.{name} >>", f"the parameter {name} is set by the caller")
            else:
                found[name] = static("")
        return found

    def _job(self, name: str, job: Node, given: Mapping[str, Value]) -> Machine | None:
        self.runs += 1
        if self.runs > MAX_RUNS or not job.is_map:
            return None
        scope = Scope({**self.pipeline, **self._parameters(job.get("parameters"), given)})
        box = Machine(self.tree, "circleci", self.doc.path, name)
        box.thrown_away = True
        env = dict(_KNOWN)
        image = ""
        for node in [*self._executor(job, scope), job]:
            resource = node.get("resource_class")
            if resource is not None and resource.text is not None:
                box.runner, box.runner_line = scope.fill(resource.text).shown, resource.key_line
                # a resource class with a namespace is a self-hosted runner
                box.thrown_away = "/" not in box.runner
            machine = node.get("machine")
            if machine is not None:
                self._layer_caching(box, machine)
            containers = node.get("docker")
            first = next(containers.items(), None) if containers is not None else None
            named = first.get("image") if first is not None else None
            image = scope.fill(named.text).shown if named is not None and named.text is not None else image
            env |= self._environment(node.get("environment"), scope)
        if "/" in box.runner:
            box.runner = f"self-hosted,{box.runner}"
        directory = job.get("working_directory")
        cwd = _directory(scope.fill(directory.text)) if directory is not None and directory.text is not None else ""
        steps = job.get("steps")
        if steps is not None:
            client = _CLIENT.search(image)
            Steps(self, box, env, cwd, client is not None and int(client[1]) < 23).run(steps, scope, 0)
        return box

    def _executor(self, job: Node, scope: Scope) -> list[Node]:
        wanted = job.get("executor")
        if wanted is None:
            return []
        name = wanted.get("name") if wanted.is_map else wanted
        text = scope.fill(name.text).text if name is not None and name.text is not None else None
        found = self.root.get("executors", text) if text is not None else None
        return [found] if found is not None else []

    def _environment(self, node: Node | None, scope: Scope) -> dict[str, Value]:
        return {
            name: scope.fill(item.text) if item.text is not None else static("")
            for name, item in (node.entries().items() if node is not None else ())
        }

    def _layer_caching(self, box: Machine, node: Node) -> None:
        caching = node.get("docker_layer_caching") if node.is_map else None
        if caching is not None and caching.text == "true":
            box.keeps, box.keeps_line = _DLC, caching.key_line

    def _orb_job(self, name: str, given: Node | None, node: Node) -> list[BuildSite]:
        """A job of an orb that builds images."""
        orb, _, job = name.partition("/")
        orbs = self.root.get("orbs")
        source = orbs.get(orb) if orbs is not None else None
        if (
            source is None
            or source.text is None
            or not re.search(r"docker|image|container|ecr|gcr|acr", source.text, re.I)
        ):
            return []
        if not re.search(r"publish|build|push|docker", job, re.I):
            return []
        return [orb_site(self.tree, self.doc.path, name, given, node, source.text, Scope(dict(self.pipeline)))]


def orb_site(tree: Tree, path: str, name: str, given: Node | None, node: Node, orb: str, scope: Scope) -> BuildSite:
    """A build that an orb does: its parameters tell what, the orb's own code how."""

    def value(*names: str) -> Value | None:
        for key in names:
            item = given.get(key) if given is not None and given.is_map else None
            if item is not None and item.text is not None:
                return scope.fill(item.text)
        return None

    place = Place(tree, "circleci", path, node.line, node.end_line, name, True, "")
    folder = value("path")
    context, why, _ = docker_cli.place_context(
        place, value("docker-context", "build-path", "docker_context") or folder or static(".")
    )
    file = value("dockerfile")
    if folder is not None and folder.text and file is not None and file.text:
        file = static(f"{folder.text.rstrip('/')}/{file.text}")
    elif folder is not None and folder.text:
        file = static(f"{folder.text.rstrip('/')}/Dockerfile")
    dockerfile, file_why = docker_cli.find_dockerfile(place, file, context, why, False)
    reason = f"the build steps stand in the orb {orb}, which is not in this repository"
    notes = [
        Unresolved(what, reason, node.line) for what in ("cache_to", "cache_from", "no_cache", "platforms", "signed")
    ]
    if context is None:
        notes.append(Unresolved("context", why, node.line))
    if dockerfile is None:
        notes.append(Unresolved("dockerfile", file_why, node.line))
    caching = value("remote-docker-dlc", "docker-layer-caching", "remote_docker_layer_caching")
    on = caching is not None and caching.text == "true"
    return BuildSite(
        system="circleci", path=path, line=node.line, end_line=node.end_line, job=name, tool="orb", ci=True,
        dockerfile=dockerfile, context=context, keeps_cache=_DLC if on else "", keeps_cache_line=node.line if on else 0,
        push=None, unresolved=tuple(notes),
    )  # fmt: skip


def _invocations(item: Node) -> list[tuple[str, Node | None, Node]]:
    if item.text is not None:
        return [(item.text, None, item)]
    return [(name, node, item) for name, node in item.entries().items()]


def _combinations(given: Node | None) -> list[dict[str, Value]]:
    """Parameters of each run of a job in a workflow."""
    if given is None or not given.is_map:
        return [{}]
    plain = {name: static(node.text) for name, node in given.entries().items() if node.text is not None}
    axes = given.get("matrix", "parameters")
    if axes is None:
        return [plain]
    named = [(name, [text for text, _ in node.texts()]) for name, node in axes.entries().items()]
    return [
        {**plain, **{name: static(value) for (name, _), value in zip(named, combination, strict=True)}}
        for combination in itertools.islice(itertools.product(*(values for _, values in named)), 64)
    ]


def _directory(value: Value) -> str | None:
    if value.text is None:
        return None
    text = value.text.strip()
    # the checkout lands in the working directory of the job, wherever that is
    if text.startswith(("~", "/")):
        return ""
    return paths.join("", text)


class Steps:
    """Reads the steps of one job, custom commands included."""

    def __init__(self, config: Config, box: Machine, env: dict[str, Value], cwd: str | None, old_client: bool) -> None:
        self.config = config
        self.old_client = old_client
        self.box = box
        self.env = env
        self.cwd = cwd

    def run(self, steps: Node, scope: Scope, depth: int) -> None:
        """Run over a list of steps."""
        if depth > MAX_DEPTH:
            return
        for step in steps.items():
            if step.text is not None:
                self._named(step.text, None, step, scope, depth)
                continue
            for name, node in step.entries().items():
                self._named(name, node, step, scope, depth)

    def _named(self, name: str, node: Node | None, step: Node, scope: Scope, depth: int) -> None:
        if name == "run" and node is not None:
            self._shell(node, scope)
        elif name == "setup_remote_docker":
            if node is not None:
                self.config._layer_caching(self.box, node)
                version = node.get("version")
                engine = _ENGINE.match(version.text or "") if version is not None else None
                # a client since 23.0 builds with BuildKit whatever the engine prefers
                if version is not None and engine is not None and self.old_client:
                    self.box.engine, self.box.engine_line = int(engine[1]), version.key_line
                    self.box.engine_why = f"Docker {version.text} is older than 23.0, where BuildKit became the default"
        elif name in ("when", "unless") and node is not None:
            inner = node.get("steps")
            if inner is not None:
                self.run(inner, scope, depth + 1)
        elif (command := self.config.root.get("commands", name)) is not None:
            given = (
                {key: scope.fill(item.text) for key, item in node.entries().items() if item.text is not None}
                if node is not None
                else {}
            )
            inner_scope = Scope({**self.config.pipeline, **self.config._parameters(command.get("parameters"), given)})
            inner = command.get("steps")
            if inner is not None:
                self.run(inner, inner_scope, depth + 1)
        elif "/" in name:
            orb, _, action = name.partition("/")
            source = self.config.root.get("orbs", orb)
            if (
                source is not None
                and source.text
                and action in ("build", "build-and-push-image", "build_and_push_image", "publish")
            ):
                site = orb_site(self.config.tree, self.config.doc.path, self.box.job, node, step, source.text, scope)
                self.box.add([replace(site, keeps_cache=site.keeps_cache or self.box.keeps)])

    def _shell(self, node: Node, scope: Scope) -> None:
        command = node.get("command") if node.is_map else node
        if command is None or command.text is None:
            return
        if not commands.INTERESTING.search(command.text) and not commands.FOLLOWED.search(command.text):
            return
        cwd = self.cwd
        env = dict(self.env)
        if node.is_map:
            env |= self.config._environment(node.get("environment"), scope)
            directory = node.get("working_directory")
            if directory is not None and directory.text is not None:
                cwd = _directory(scope.fill(directory.text))
        filled = substitute(command.text, PARAMETER, lambda match: scope.lookup(match[1]))
        self.box.run(Text(filled, env, cwd), command.source().place)
