"""GitLab CI: ``.gitlab-ci.yml`` and the local files it includes.

Language: docs.gitlab.com/ci/yaml and docs.gitlab.com/ci/docker/using_docker_build (read 2026-11). What is included
from elsewhere (a template, a component, another project, an address) is code of other repositories: what it builds
stays unresolved.
"""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from coach.ci import commands, compose, docker_cli, yamldoc
from coach.ci.commands import Filled, Text
from coach.ci.docker_cli import Place
from coach.ci.machine import Machine, sign_off
from coach.ci.nouns import WORKSPACE, Discovery, Value, static
from coach.ci.yamldoc import Joined, Node
from coach.errors import InputError
from coach.model import BuildSite, Skipped, Tree, Unresolved, is_file
from coach.redact import mask

ROOT = ".gitlab-ci.yml"
MAX_DEPTH = 10
MAX_FILES = 100
MAX_COMBINATIONS = 64
MAX_LAYERS = 200
_KEYWORDS = frozenset(
    "default include stages variables workflow image services cache before_script after_script pages spec".split()
)
# `stable` was last moved in 2020, to 19.03; what is not pinned is the newest there is.
_ENGINE = re.compile(
    r"(?:^|/)docker:(?:(\d+)(?:\.\d+)*|stable\b)|^(?:docker\.io/)?(?:library/)?docker(?P<newest>$|:(?:latest|cli|git|dind))"
)
_NEWEST = 99
_ELSEWHERE = {
    "project": "a file of another project",
    "remote": "a file at another address",
    "template": "a template that GitLab brings",
    "component": "a component of another project",
}
# Names of included files and jobs that build an image, and of those that only look at one.
_BUILDS = re.compile(r"docker|kaniko|buildah|buildkit|container|\bimage|oci-?build|auto-?devops", re.I)
_LOOKS = re.compile(
    r"(?<![a-z])(?:scan|secur|sast|dast|lint|test|clair|trivy|sbom|clean|rules|workflow|deploy|release-cli|get-)", re.I
)
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


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An ``include`` of something that is not in this repository."""

    kind: str
    name: str
    path: str
    line: int
    inputs: Node | None

    @property
    def says(self) -> str:
        return f"{_ELSEWHERE.get(self.kind, 'a file of another place')} ({self.name})"


class Pipeline:
    """The merged configuration: each job as the nodes it is laid together from, the weakest first."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.skipped: list[Skipped] = []
        self.jobs: dict[str, list[Node]] = {}
        self.top: dict[str, Node] = {}
        self.variables: dict[str, Node] = {}
        self.loaded: set[str] = set()
        self.elsewhere: list[Elsewhere] = []

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
            kind = next((name for name in _ELSEWHERE if item.get(name) is not None), "")
            said = item.get(kind) if kind else None
            file = item.get("file")
            names = [said.text or ""] if said is not None else []
            names += [text for text, _ in file.texts()] if file is not None else []
            self._far(kind, " ".join(names), item, item.get("inputs"))
            return
        for text, _ in texts:
            if "://" in text:
                self._far("remote", text, item, None)
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

    def _far(self, kind: str, name: str, item: Node, inputs: Node | None) -> None:
        self.elsewhere.append(Elsewhere(kind, mask(name), item.doc.path, item.line, inputs))

    def layers(self, name: str) -> list[Node]:
        """The nodes of a job, what it extends first."""
        return self._layers(name, 0, {})

    def _layers(self, name: str, depth: int, known: dict[str, list[Node]]) -> list[Node]:
        if name in known:
            return known[name]
        known[name] = []
        found: list[Node] = []
        for node in self.jobs.get(name, []):
            extends = node.get("extends")
            if extends is not None and depth < MAX_DEPTH:
                for text, _ in extends.texts():
                    if text != name and len(found) < MAX_LAYERS:
                        found += self._layers(text, depth + 1, known)
            found.append(node)
        known[name] = found[-MAX_LAYERS:]
        return known[name]

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
        return [*sign_off(found, signed, attested), *self._hidden()]

    def _hidden(self) -> list[BuildSite]:
        """Builds of what is included from elsewhere, as far as its name tells of one."""
        found: list[BuildSite] = []
        if not self.elsewhere:
            return found
        for name in self.jobs:
            layers = self.layers(name)
            unknown = self._unknown_parents(name)
            wanted = " ".join([name, *unknown])
            if name.startswith(".") or not unknown or self.script(layers):
                continue
            if _BUILDS.search(wanted) and not _LOOKS.search(wanted):
                why = f"the job extends {', '.join(unknown)} of {self.elsewhere[0].says}"
                node = self.jobs[name][-1]
                found.append(self._far_site(name, node.doc.path, node.key_line, why, self._variables(layers, {})))
        for item in self.elsewhere:
            name = re.sub(r"^https?://[^/]*", "", item.name).partition("@")[0]
            if _BUILDS.search(name) and not _LOOKS.search(name):
                given = {
                    name: compose.interpolate(node.text, _KNOWN)
                    for name, node in (item.inputs.entries().items() if item.inputs is not None else ())
                    if node.text is not None
                }
                why = f"the build steps stand in {item.says}"
                found.append(self._far_site("include", item.path, item.line, why, given))
        # a job that extends what such a file holds is the same build
        return [site for site in found if site.job != "include"] or found

    def _unknown_parents(self, name: str) -> list[str]:
        """Names that a job extends and that no file of this repository declares."""
        found: dict[str, None] = {}
        seen: set[str] = set()
        todo = [name]
        while todo:
            here = todo.pop(0)
            if here in seen:
                continue
            seen.add(here)
            if here not in self.jobs:
                found[here] = None
            for node in self.jobs.get(here, []):
                extends = node.get("extends")
                todo += [text for text, _ in extends.texts()] if extends is not None else []
        return list(found)

    def _far_site(self, job: str, path: str, line: int, why: str, given: Mapping[str, Value]) -> BuildSite:
        """A build whose commands stand elsewhere: what this repository says about its files, and nothing more."""

        def said(*parts: str) -> Value | None:
            for name, value in given.items():
                plain = re.sub(r"[^a-z]", "", name.lower())
                if any(plain.endswith(part) for part in parts):
                    return value
            return None

        place = Place(self.tree, "gitlab", path, line, line, job, True)
        folder = said("context", "contextdir", "contextpath", "buildcontext") or static(".")
        context, context_why, _ = docker_cli.place_context(place, folder)
        file = said("dockerfile", "dockerfilepath")
        dockerfile, file_why = docker_cli.find_dockerfile(place, file, context, context_why, False)
        reason = f"{why}, which is not in this repository"
        notes = [
            Unresolved(what, reason, line)
            for what in ("cache_to", "cache_from", "no_cache", "platforms", "signed", "push")
        ]
        if context is None:
            notes.append(Unresolved("context", context_why, line))
        if dockerfile is None:
            notes.append(Unresolved("dockerfile", file_why, line))
        return BuildSite(
            system="gitlab", path=path, line=line, end_line=line, job=job, tool="workflow", ci=True,
            dockerfile=dockerfile, context=context, push=None, unresolved=tuple(notes),
        )  # fmt: skip

    def matrix(self, layers: list[Node]) -> dict[str, list[str]]:
        """The variables of a job's matrix that take several values, with these."""
        found: dict[str, dict[str, None]] = {}
        for combination in self._combinations(layers):
            for name, value in combination.items():
                found.setdefault(name, {})[value.text or ""] = None
        return {name: list(values) for name, values in found.items() if len(values) > 1}

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

    def written(self, layers: list[Node]) -> dict[str, str]:
        """The variables that the files give a job, as they are written there."""
        raw: dict[str, Node] = dict(self.variables)
        for node in layers:
            given = node.get("variables")
            if given is not None:
                raw |= given.entries()
        values = {name: item.get("value") if item.is_map else item for name, item in raw.items()}
        return {name: (value.text or "") if value is not None else "" for name, value in values.items()}

    def _variables(self, layers: list[Node], extra: Mapping[str, Value]) -> dict[str, Value]:
        raw = self.written(layers)
        env: dict[str, Value] = {**_KNOWN, **extra}
        for _ in range(3):
            for name, text in raw.items():
                if name not in extra:
                    env[name] = compose.interpolate(text, {key: value for key, value in env.items() if key != name})
        return env

    def _job(self, name: str, layers: list[Node], extra: Mapping[str, Value]) -> Machine | None:
        scripts = self.script(layers)
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
        decides = self._engine(box, (image, image_name), (services, dind))
        if not dind and "kaniko" not in image_name and "buildah" not in image_name:
            here = scripts[0].doc is layers[-1].doc
            box.notes.append(
                Unresolved(
                    "keeps_cache",
                    "the job has no docker:dind service, so it uses an engine of the runner, which may keep its cache",
                    layers[-1].key_line if here else 0,
                )
            )
        # the service's engine goes with the job, whoever owns the machine
        box.thrown_away = bool(dind) or _hosted(labels) or "kaniko" in image_name
        box.run(Text(Filled(joined.text), env, ""), joined.place)
        if decides is not None and box.engine_line:
            box.sites = [
                replace(site, buildkit_line=site.line)
                if site.path != decides.doc.path and site.buildkit_line == box.engine_line
                else site
                for site in box.sites
            ]
        return box

    def _engine(self, box: Machine, image: tuple[Node | None, str], service: tuple[Node | None, str]) -> Node | None:
        """Tell ``box`` whether the job's client or engine is one that builds with BuildKit; gives what says so.

        A client since 23.0 asks for BuildKit, an older one does what the engine prefers: BuildKit since 23.0.
        """
        found = [
            (_version(match), match[0].lstrip("/"), node)
            for node, name in (image, service)
            if (match := _ENGINE.search(name))
        ]
        if not found:
            return None
        version, name, node = max(found, key=lambda item: item[0])
        if version >= 23:
            box.hosted_engine = f"{name} is no older than 23.0, where BuildKit became the default"
        elif len(found) == 2:
            box.engine, box.engine_line = version, node.key_line if node is not None else 0
            box.engine_why = f"{name} is older than 23.0, where BuildKit became the default"
        return node

    def script(self, layers: list[Node]) -> list[Node]:
        """Lines that one shell runs for a job, ``before_script`` first."""
        return [*self._script(layers, "before_script"), *self._script(layers, "script")]

    def image(self, layers: list[Node]) -> str:
        """The image a job runs in, variables filled in as far as they are known."""
        return _name(self.pick(layers, "image"), self._variables(layers, {}))

    def engine(self, layers: list[Node]) -> int | None:
        """Major version of the engine that runs beside a job, where its name tells."""
        services, env = self.pick(layers, "services"), self._variables(layers, {})
        names = [_name(item, env) for item in services.items()] if services is not None else []
        found = [_version(match) for name in names if (match := _ENGINE.search(name))]
        return found[0] if found else None

    def texts(self) -> list[str]:
        """The content of every file that was read."""
        return [self.tree.read(path).decode("utf-8", "replace") for path in sorted(self.loaded)]

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


def _version(match: re.Match[str]) -> int:
    if match["newest"] is not None:
        return _NEWEST
    return int(match[1] or 19)


def _hosted(labels: str) -> bool:
    return "saas-" in labels or "gitlab-org" in labels


def _name(node: Node | None, env: Mapping[str, Value]) -> str:
    if node is None:
        return ""
    named = node.get("name") if node.is_map else node
    return compose.interpolate(named.text, env).shown if named is not None and named.text is not None else ""
