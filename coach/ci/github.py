"""GitHub Actions (and Gitea's and Forgejo's): workflows, local composite actions, local reusable workflows.

Language: docs.github.com/actions/reference/workflows-and-actions/workflow-syntax and …/metadata-syntax;
actions: the ``action.yml`` of each action named in ``github_steps`` (read 2026-11).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from coach.ci import machine, paths
from coach.ci.expressions import Hole
from coach.ci.github_remote import remote_workflow
from coach.ci.github_scope import Scope, combinations, plain
from coach.ci.github_steps import MAX_NESTING, Files, Steps
from coach.ci.machine import Machine
from coach.ci.nouns import Discovery, Value, static
from coach.ci.runners import is_arm
from coach.ci.yamldoc import Doc, Node
from coach.errors import InputError
from coach.model import BuildSite, Skipped, Tree, Unresolved, is_file

_FOLDERS = {".github/workflows": "github", ".gitea/workflows": "gitea", ".forgejo/workflows": "forgejo"}
_WORTH = re.compile(
    rb"docker|buildx|podman|buildah|nerdctl|kaniko|depot|bake|compose|blacksmith|nscloud|warpbuild|container|image"
    rb"|\bmake\b|\.sh\b|uses:\s*['\"]?\./|(npm|yarn|pnpm|bun)\s+(run\s+)?[\w:-]*(docker|image|container)|cosign|\./",
    re.I,
)
# actions and commands that look for known vulnerabilities in an image
_SCANS = re.compile(rb"trivy|\bgrype\b|anchore/scan-action|docker[/ ]scout|snyk[/ ](?:actions|container)", re.I)


def read(tree: Tree) -> Discovery:
    """Every build that a workflow of the repository starts."""
    builds: list[BuildSite] = []
    skipped: list[Skipped] = []
    files = Files(tree)
    found: list[tuple[str, str, Doc]] = []
    for path in list(tree.entries()):
        system = _FOLDERS.get(posixpath.dirname(path))
        if system is None or not path.endswith((".yml", ".yaml")) or not is_file(tree, path):
            continue
        try:
            if not _WORTH.search(tree.read(path)):
                continue
            found.append((path, system, files.get(path)))
        except InputError as error:
            skipped.append(Skipped(path, error.line, error.says))
    called: set[str] = set()
    runs: list[tuple[str, Workflow]] = []
    for path, system, doc in found:
        workflow = Workflow(files, doc, system)
        runs.append((path, workflow))
        called |= workflow.calls()
    for path, workflow in runs:
        # what is only ever called is read where it is called, with the inputs it gets
        if path in called and workflow.events <= {"workflow_call"}:
            continue
        try:
            builds += workflow.sites()
        except InputError as error:
            skipped.append(Skipped(error.path or path, error.line, error.says))
        except RecursionError:
            skipped.append(Skipped(path, 0, "it is nested too deeply to be followed"))
    return Discovery(tuple(_unique(builds)), tuple(skipped))


def _unique(builds: list[BuildSite]) -> list[BuildSite]:
    kept: list[BuildSite] = []
    seen: set[str] = set()
    for build in builds:
        key = repr(build)
        if key not in seen:
            seen.add(key)
            kept.append(build)
    return kept


class Workflow:
    """One workflow file, run with given inputs."""

    def __init__(
        self,
        files: Files,
        doc: Doc,
        system: str,
        inputs: Mapping[str, object] | None = None,
        caller: tuple[str, int] = ("", 0),
        depth: int = 0,
    ) -> None:
        self.files = files
        self.tree = files.tree
        self.doc = doc
        self.root = doc.root
        self.system = system
        self.caller = caller
        self.depth = depth
        self.outputs: dict[str, dict[str, object]] = {}
        self.signed: list[tuple[str, int, str]] = []
        self.attested: list[tuple[str, int, str]] = []
        on = self.root.get("on") or self.root.get("true")
        if on is None:
            self.events: frozenset[str] = frozenset()
        elif on.is_map:
            self.events = frozenset(on.entries())
        else:
            self.events = frozenset(text for text, _ in on.texts())
        self.scope = Scope(inputs=self._inputs(on, inputs))
        self.scope.env = self.scope.environment(self.root.get("env"), {})
        self.defaults = self._directory(self.root, None)

    def calls(self) -> set[str]:
        """Local workflows that its jobs call."""
        jobs = self.root.get("jobs")
        found: set[str] = set()
        for job in jobs.entries().values() if jobs is not None else ():
            uses = job.get("uses")
            if uses is not None and uses.text is not None and uses.text.startswith("./"):
                path = paths.join("", uses.text)
                if path is not None:
                    found.add(path)
        return found

    def _inputs(self, on: Node | None, given: Mapping[str, object] | None) -> dict[str, object]:
        found: dict[str, object] = {}
        if on is None or not on.is_map:
            return dict(given or {})
        for event in ("workflow_dispatch", "workflow_call"):
            declared = on.get(event, "inputs")
            if declared is None or (event == "workflow_dispatch" and given is not None):
                continue
            for name, node in declared.entries().items():
                default = node.get("default")
                kind = node.get("type")
                value: object = plain(default, Scope()) if default is not None else ""
                if kind is not None and kind.text == "boolean" and not isinstance(value, Hole):
                    value = str(value).lower() == "true"
                if given is not None and name in given:
                    value = given[name]
                    if kind is not None and kind.text == "boolean" and isinstance(value, str):
                        value = value.lower() == "true"
                elif given is None:
                    options = node.get("options")
                    choices = [text for text, _ in options.texts()] if options is not None else []
                    others = [False, True] if kind is not None and kind.text == "boolean" else choices
                    free = not others and event == "workflow_dispatch"
                    alone = self.events <= {"workflow_dispatch"}
                    known = [value, *([] if alone else [""]), *others]
                    if free and alone:
                        # a text box: what it is set to is nearly always its default
                        value = (
                            value if value != "" else Hole(f"inputs.{name} is typed in by whoever starts the workflow")
                        )
                    elif free or len(known) > 1:
                        value = Hole(
                            f"inputs.{name} is chosen by whoever starts the workflow",
                            options=tuple(dict.fromkeys(known)),
                        )
                    elif event == "workflow_call" and value == "" and default is None:
                        value = Hole(f"inputs.{name} is set by a workflow that calls this one")
                found[name] = value
        for name, value in (given or {}).items():
            found.setdefault(name, value)
        return found

    def _directory(self, node: Node, base: Value | None) -> Value | None:
        directory = node.get("defaults", "run", "working-directory")
        return static(directory.text) if directory is not None and directory.text is not None else base

    def sites(self) -> list[BuildSite]:
        """Every build of every job, each with the signatures of the whole workflow."""
        jobs = self.root.get("jobs")
        if jobs is None or not jobs.is_map or self.depth > MAX_NESTING:
            return []
        entries = jobs.entries()
        found: list[BuildSite] = []
        for name in _in_order(entries):
            found += self._job(name, entries[name])
        return machine.sign_off(self._timed(found), self.signed, self.attested)

    def _timed(self, found: list[BuildSite]) -> list[BuildSite]:
        """``found`` with what is special about a workflow that no commit starts."""
        if self.depth or not self.events or not self.events <= {"schedule", "workflow_dispatch"}:
            return found
        if "schedule" not in self.events:
            return [replace(site, seldom="somebody starts it by hand") for site in found]
        clock = "the workflow runs on a schedule"
        return [
            replace(site, seldom=clock, no_cache_why=site.no_cache_why or (clock if site.no_cache else ""))
            for site in found
        ]

    def _job(self, name: str, job: Node) -> list[BuildSite]:
        condition = job.get("if")
        if condition is not None and condition.text in ("false", "${{ false }}"):
            return []
        needs = job.get("needs")
        self.scope.needs = {
            text: self.outputs.get(text, {}) for text, _ in (needs.texts() if needs is not None else [])
        }
        if (uses := job.get("uses")) is not None and uses.text is not None:
            return [
                site
                for combination in combinations(job.get("strategy", "matrix"), self.scope)
                for site in self._called(name, job, uses, replace(self.scope, matrix=combination))
            ]
        steps = job.get("steps")
        if steps is None or not steps.is_list:
            return []
        first, last = self.doc.line_starts[job.line - 1], self.doc.line_span(job.line, job.end_line).end
        raw = self.doc.content[first:last]
        if not _WORTH.search(raw) and job.get("outputs") is None:
            return []
        found: list[BuildSite] = []
        for combination in combinations(job.get("strategy", "matrix"), self.scope):
            scope = replace(self.scope, matrix=combination, steps={}, env=dict(self.scope.env))
            runner, runner_line = _runner(job, scope)
            scope.arm = is_arm(runner)
            scope.env = scope.environment(job.get("env"), scope.env)
            box = Machine(self.tree, self.system, self.doc.path, name, runner=runner, runner_line=runner_line)
            box.notes += (
                [Unresolved("runner", f"{runner} is known only when the workflow runs", runner_line)]
                if "${{" in runner
                else []
            )
            if self.system == "github" and re.fullmatch(r"ubuntu-(latest|\d\d\.\d\d)(-arm)?", runner):
                # github.com/actions/runner-images, the tools of its Ubuntu images (read 2026-11)
                box.hosted_engine = f"the engine of {runner} is newer than 23.0, where BuildKit became the default"
            run = Steps(self.files, box, scope, self._directory(job, self.defaults))
            run.steps(steps, self.doc, 0)
            found += _scanned(raw, box.finish())
            self.signed += box.signed
            self.attested += box.attested
            outputs = job.get("outputs")
            if outputs is not None:
                known = self.outputs.setdefault(name, {})
                for key, node in outputs.entries().items():
                    known[key] = plain(node, scope)
        return found

    def _called(self, name: str, job: Node, uses: Node, scope: Scope) -> list[BuildSite]:
        """A job that is another workflow."""
        given = job.get("with")
        inputs = {key: plain(node, scope) for key, node in given.entries().items()} if given is not None else {}
        target = uses.text or ""
        if target.startswith("./"):
            path = paths.join("", target)
            if path is None or not is_file(self.tree, path):
                return []
            inner = Workflow(
                self.files, self.files.get(path), self.system, inputs, (self.doc.path, uses.line), self.depth + 1
            )
            found = [
                site if site.called_from else replace(site, called_from=self.doc.path, called_line=uses.line)
                for site in inner.sites()
            ]
            self.signed += inner.signed
            self.attested += inner.attested
            return found
        if target.startswith("slsa-framework/slsa-github-generator") and "container" in target:
            self.attested.append((self.doc.path, uses.line, "a signed SLSA provenance attestation"))
            return []
        return remote_workflow(self.tree, self.system, name, job, uses, inputs, self.scope.env)


def _scanned(job: bytes, builds: list[BuildSite]) -> list[BuildSite]:
    """``builds`` of a job that looks for vulnerabilities: without a cache, packages are today's, which may be meant."""
    if not _SCANS.search(job) or any(build.push for build in builds):
        return builds
    says = "the job looks for vulnerabilities in what it builds, and pushes nothing"
    return [replace(build, no_cache_why=build.no_cache_why or says) if build.no_cache else build for build in builds]


def _in_order(jobs: Mapping[str, Node]) -> Iterator[str]:
    """Jobs with those they need before them."""
    done: set[str] = set()
    todo = [(name, False) for name in reversed(list(jobs))]
    open_jobs: set[str] = set()
    while todo:
        name, ready = todo.pop()
        if name in done or name not in jobs:
            continue
        if ready or name in open_jobs:
            done.add(name)
            yield name
            continue
        open_jobs.add(name)
        todo.append((name, True))
        needs = jobs[name].get("needs")
        todo += [(text, False) for text, _ in (needs.texts() if needs is not None else []) if text not in open_jobs]


def _runner(job: Node, scope: Scope) -> tuple[str, int]:
    """The machine's labels, joined by commas, and their line."""
    node = job.get("runs-on")
    if node is None:
        return "", 0
    line = node.key_line
    if node.is_map:
        labels = node.get("labels") or node.get("group")
        node = labels if labels is not None else node
    parts = []
    for text, _ in node.texts():
        value = scope.fill(text)
        if value.text is None and value.options:
            parts.append(max(value.options, key=lambda option: (is_arm(option), option)))
            continue
        filled = value.text if value.text is not None else value.shown
        parts.append(filled.strip("[]").replace('"', "") if filled.startswith("[") else filled)
    return ",".join(part.strip() for part in parts), line
