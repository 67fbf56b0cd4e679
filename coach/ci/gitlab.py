"""GitLab CI: ``.gitlab-ci.yml`` and the local files it includes.

Language: docs.gitlab.com/ci/yaml and docs.gitlab.com/ci/docker/using_docker_build (read 2026-11).
"""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Iterator, Mapping

from coach.ci import commands, compose, yamldoc
from coach.ci.commands import Filled, Text
from coach.ci.machine import Machine, sign_off
from coach.ci.nouns import WORKSPACE, Discovery, Value, static
from coach.ci.yamldoc import Joined, Node
from coach.errors import InputError
from coach.model import BuildSite, Skipped, Tree, Unresolved, is_file

ROOT = ".gitlab-ci.yml"
MAX_DEPTH = 10
MAX_FILES = 100
MAX_COMBINATIONS = 64
_KEYWORDS = frozenset(
    "default include stages variables workflow image services cache before_script after_script pages spec".split()
)
_ENGINE = re.compile(r"(?:^|/)docker:(\d+)(?:\.\d+)*")
_KNOWN = {
    "CI_PROJECT_DIR": static(WORKSPACE),
    "CI_COMMIT_SHA": Value(None, "$CI_COMMIT_SHA", "CI_COMMIT_SHA differs on every commit", per_commit=True),
    "CI_COMMIT_SHORT_SHA": Value(
        None, "$CI_COMMIT_SHORT_SHA", "CI_COMMIT_SHORT_SHA differs on every commit", per_commit=True
    ),
    "CI_PIPELINE_ID": Value(None, "$CI_PIPELINE_ID", "CI_PIPELINE_ID differs on every run", per_commit=True),
    "CI_JOB_TOKEN": Value(None, "$CI_JOB_TOKEN", "CI_JOB_TOKEN is a secret", secret=True),
    "CI_REGISTRY_PASSWORD": Value(None, "$CI_REGISTRY_PASSWORD", "CI_REGISTRY_PASSWORD is a secret", secret=True),
}


def read(tree: Tree) -> Discovery:
    """Every build of the pipeline."""
    if not is_file(tree, ROOT):
        return Discovery()
    pipeline = Pipeline(tree)
    try:
        pipeline.load(ROOT, 0)
        builds = pipeline.sites()
    except InputError as error:
        return Discovery((), (*pipeline.skipped, Skipped(error.path or ROOT, error.line, error.says)))
    return Discovery(tuple(builds), tuple(pipeline.skipped))


class Pipeline:
    """The merged configuration: each job as the nodes it is laid together from, the weakest first."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.skipped: list[Skipped] = []
        self.jobs: dict[str, list[Node]] = {}
        self.top: dict[str, Node] = {}
        self.variables: dict[str, Node] = {}
        self.loaded: set[str] = set()
        self.remote: list[str] = []

    def load(self, path: str, depth: int) -> None:
        """Read one file and what it includes; what an including file says wins."""
        if path in self.loaded or len(self.loaded) > MAX_FILES or depth > MAX_DEPTH:
            return
        self.loaded.add(path)
        doc = yamldoc.Doc(self.tree.read(path), path)
        root = doc.roots[-1]
        include = root.get("include")
        if include is not None:
            for item in [include] if include.is_map else include.items():
                self._include(item, depth)
        for name, node in root.entries().items():
            if name == "default" and node.is_map:
                self.top |= node.entries()
            elif name == "variables" and node.is_map:
                self.variables |= node.entries()
            elif name in ("image", "services", "before_script"):
                self.top.setdefault(name, node)
            elif name not in _KEYWORDS and node.is_map:
                self.jobs.setdefault(name, []).append(node)

    def _include(self, item: Node, depth: int) -> None:
        texts = item.texts() if not item.is_map else []
        local = item.get("local") if item.is_map else None
        if local is not None:
            texts = local.texts()
        elif item.is_map:
            self.remote.append(
                next(
                    (name for name in ("project", "remote", "template", "component") if item.get(name)), "another place"
                )
            )
            return
        for text, _ in texts:
            if "://" in text:
                self.remote.append("remote")
                continue
            wanted = text.lstrip("/")
            matches = (
                [path for path in self.tree.entries() if fnmatch.fnmatchcase(path, wanted.replace("**", "*"))]
                if "*" in wanted
                else [wanted]
            )
            for path in matches:
                if not is_file(self.tree, path):
                    continue
                try:
                    self.load(path, depth + 1)
                except InputError as error:
                    self.skipped.append(Skipped(path, error.line, error.says))

    def layers(self, name: str, depth: int = 0) -> list[Node]:
        """The nodes of a job, what it extends first."""
        found: list[Node] = []
        for node in self.jobs.get(name, []):
            extends = node.get("extends")
            if extends is not None and depth < MAX_DEPTH:
                for text, _ in extends.texts():
                    if text != name:
                        found += self.layers(text, depth + 1)
            found.append(node)
        return found

    def pick(self, layers: list[Node], key: str) -> Node | None:
        """The strongest value of a key; ``inherit``ed from ``default`` when no layer has one."""
        for node in reversed(layers):
            value = node.entries().get(key)
            if value is not None:
                return value
        return self.top.get(key)

    def sites(self) -> list[BuildSite]:
        found: list[BuildSite] = []
        signed: list[tuple[str, int, str]] = []
        attested: list[tuple[str, int, str]] = []
        for name in self.jobs:
            if name.startswith("."):
                continue
            layers = self.layers(name)
            for variables in self._combinations(layers):
                box = self._job(name, layers, variables)
                if box is not None:
                    found += box.finish()
                    signed += box.signed
                    attested += box.attested
        return sign_off(found, signed, attested)

    def _combinations(self, layers: list[Node]) -> list[dict[str, Value]]:
        matrix = None
        for node in layers:
            matrix = node.get("parallel", "matrix") or matrix
        if matrix is None:
            return [{}]
        found: list[dict[str, Value]] = []
        for row in matrix.items():
            axes = [(key, [text for text, _ in item.texts()]) for key, item in row.entries().items()]
            for combination in itertools.product(*(values for _, values in axes)):
                found.append({key: static(value) for (key, _), value in zip(axes, combination, strict=True)})
                if len(found) >= MAX_COMBINATIONS:
                    return found
        return found or [{}]

    def _variables(self, layers: list[Node], extra: Mapping[str, Value]) -> dict[str, Value]:
        raw: dict[str, Node] = dict(self.variables)
        for node in layers:
            given = node.get("variables")
            if given is not None:
                raw |= given.entries()
        env: dict[str, Value] = {**_KNOWN, **extra}
        for _ in range(3):
            for name, item in raw.items():
                value = item.get("value") if item.is_map else item
                if value is not None and value.text is not None and name not in extra:
                    env[name] = compose.interpolate(
                        value.text, {key: value for key, value in env.items() if key != name}
                    )
                elif name not in extra:
                    env[name] = static("")
        return env

    def _job(self, name: str, layers: list[Node], extra: Mapping[str, Value]) -> Machine | None:
        scripts = [*self._script(layers, "before_script"), *self._script(layers, "script")]
        joined = Joined(scripts)
        if not commands.INTERESTING.search(joined.text) and not commands.FOLLOWED.search(joined.text):
            return None
        env = self._variables(layers, extra)
        tags = self.pick(layers, "tags")
        labels = ",".join(compose.interpolate(text, env).shown for text, _ in tags.texts()) if tags is not None else ""
        box = Machine(self.tree, "gitlab", ROOT, name)
        box.runner, box.runner_line = labels, tags.key_line if tags is not None and tags.doc.path == ROOT else 0
        image, services = self.pick(layers, "image"), self.pick(layers, "services")
        image_name = _name(image, env)
        service_names = [_name(item, env) for item in services.items()] if services is not None else []
        dind = next((text for text in service_names if "dind" in text), "")
        engine = _ENGINE.search(image_name) or _ENGINE.search(dind)
        if engine is not None:
            box.engine = int(engine[1])
            node = image if _ENGINE.search(image_name) else services
            box.engine_line = node.key_line if node is not None else 0
            box.engine_why = f"{engine[0]} is older than 23.0, where BuildKit became the default"
        if not dind and "kaniko" not in image_name and "buildah" not in image_name:
            box.notes.append(
                Unresolved(
                    "keeps_cache",
                    "the job has no docker:dind service, so it uses an engine of the runner, which may keep its cache",
                    layers[-1].key_line,
                )
            )
        # the service's engine goes with the job, whoever owns the machine
        box.thrown_away = bool(dind) or _hosted(labels) or "kaniko" in image_name
        box.run(Text(Filled(joined.text), env, ""), joined.place)
        return box

    def _script(self, layers: list[Node], key: str) -> list[Node]:
        node = self.pick(layers, key)
        return list(self._lines(node, 0)) if node is not None else []

    def _lines(self, node: Node, depth: int) -> Iterator[Node]:
        """Scalars of a script, nested lists and ``!reference`` followed."""
        if depth > MAX_DEPTH:
            return
        if node.tag == "!reference":
            steps = [text for text, _ in node.texts()]
            if not steps:
                return
            found: Node | None = None
            if steps[0] in self.jobs and len(steps) > 1:
                found = self.pick(self.layers(steps[0]), steps[1])
            elif steps[0] in self.top:
                found = self.top[steps[0]]
            if found is not None:
                yield from self._lines(found, depth + 1)
            return
        for item in node.items():
            if item.is_list:
                yield from self._lines(item, depth + 1)
            elif item.text is not None:
                yield item


def _hosted(labels: str) -> bool:
    return "saas-" in labels or "gitlab-org" in labels


def _name(node: Node | None, env: Mapping[str, Value]) -> str:
    if node is None:
        return ""
    named = node.get("name") if node.is_map else node
    return compose.interpolate(named.text, env).shown if named is not None and named.text is not None else ""
