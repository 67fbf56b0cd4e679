"""AWS CodeBuild: ``buildspec.yml``.

Language: docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html (read 2026-11).
"""

from __future__ import annotations

import re

from coach.ci import jobs
from coach.ci.machine import Machine
from coach.ci.nouns import WORKSPACE, Discovery, Value, static
from coach.ci.yamldoc import Doc, Node
from coach.model import BuildSite, Tree, Unresolved

_NAME = re.compile(r"(^|/)buildspec[\w.-]*\.ya?ml$")


def read(tree: Tree) -> Discovery:
    """Every build of every buildspec."""
    return jobs.each_file(tree, lambda path: _NAME.search(path) is not None, _sites)


def _sites(tree: Tree, doc: Doc) -> list[BuildSite]:
    if doc.root.get("phases") is None:
        return []
    box = Machine(tree, "codebuild", doc.path, "build", thrown_away=True)
    box.notes.append(
        Unresolved("keeps_cache", "whether the project has a local Docker layer cache is set outside the repository")
    )
    version = doc.root.get("phases", "install", "runtime-versions", "docker")
    if version is not None and (version.text or "").isdigit():
        box.engine, box.engine_line = int(version.text or ""), version.line
        box.engine_why = f"Docker {version.text} builds without BuildKit by default"
    env: dict[str, Value] = {
        "CODEBUILD_SRC_DIR": static(WORKSPACE),
        **jobs.variables(doc.root.get("env", "variables")),
    }
    for kind in ("secrets-manager", "parameter-store"):
        given = doc.root.get("env", kind)
        for name in given.entries() if given is not None else ():
            env[name] = Value(None, f"${name}", f"{name} comes from the {kind}", secret=kind == "secrets-manager")
    jobs.run_lines(box, script(doc), env)
    return box.finish()


def script(doc: Doc) -> list[Node]:
    """The commands of all phases in the order they run."""
    phases = [doc.root.get("phases", key) for key in ("install", "pre_build", "build", "post_build")]
    return jobs.scalars(*(phase.get("commands") for phase in phases if phase is not None and phase.is_map))
