"""Travis CI: ``.travis.yml`` (docs.travis-ci.com/user/docker, read 2026-11)."""

from __future__ import annotations

from coach.ci import jobs
from coach.ci.machine import Machine
from coach.ci.nouns import Discovery, Value, static
from coach.ci.yamldoc import Doc, Node
from coach.model import BuildSite, Tree

_PHASES = ("before_install", "install", "before_script", "script", "after_success", "before_deploy", "after_deploy")


def read(tree: Tree) -> Discovery:
    """Every build of the file's jobs."""
    return jobs.each_file(tree, lambda path: path in (".travis.yml", ".travis.yaml"), _sites)


def all_jobs(doc: Doc) -> list[Node]:
    """The jobs that the file lists; the file itself where it lists none."""
    listed = doc.root.get("jobs", "include") or doc.root.get("matrix", "include")
    return [item for item in listed.items() if item.is_map] if listed is not None else [doc.root]


def script(doc: Doc, job: Node) -> list[Node]:
    """What a job runs: its own phases, the file's where it has none."""
    return jobs.scalars(*(job.get(phase) if job.get(phase) is not None else doc.root.get(phase) for phase in _PHASES))


def _sites(tree: Tree, doc: Doc) -> list[BuildSite]:
    found: list[BuildSite] = []
    for job in all_jobs(doc):
        name = job.get("name") or job.get("stage")
        found += _job(tree, doc, job, (name.text if name is not None else None) or "script")
    return found


def _job(tree: Tree, doc: Doc, job: Node, name: str) -> list[BuildSite]:
    box = Machine(tree, "travis", doc.path, name, thrown_away=True)
    machine = job.get("arch") or doc.root.get("arch")
    if machine is not None and machine.text is not None:
        box.runner, box.runner_line = machine.text, machine.key_line
    env: dict[str, Value] = {"TRAVIS_BUILD_DIR": static("/github/workspace")}
    for source in (doc.root.get("env", "global"), doc.root.get("env"), job.get("env")):
        env |= jobs.variables(source)
    jobs.run_lines(box, script(doc, job), env)
    return box.finish()
