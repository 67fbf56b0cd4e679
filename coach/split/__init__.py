"""One stage made into several: the user's own lines build, a new stage behind them runs what they built."""

from __future__ import annotations

import posixpath
import re

from coach.images import Role
from coach.shipped import Shipped
from coach.split.draft import WORK, CannotSplitError, Split, build_name, text_of
from coach.split.runtime import assemble

__all__ = ["CannotSplitError", "Split", "plan", "sketch"]

_NODE = frozenset({"node", "npm", "yarn", "pnpm", "next", "npx", "bun", "bunx"})
_PYTHON = frozenset(
    {"python", "python3", "gunicorn", "uvicorn", "flask", "fastapi", "celery", "daphne", "hypercorn"}
    | {"streamlit", "django-admin", "granian", "waitress-serve"}
)
_ASIDE = re.compile(r"(?:^|[._-])(?:dev|development|debug|test|tests|lint|ci|build|builder|base|deps)(?:$|[._-])", re.I)
_INITS = frozenset({"tini", "dumb-init", "catatonit"})
_RUNNERS = frozenset({"uv", "poetry", "pdm", "pipenv", "hatch", "deno"})


def plan(shipped: Shipped) -> Split:
    """Split ``shipped``'s only stage. Raises ``CannotSplitError`` when what runs cannot be told from the repository."""
    site, stage = shipped.site, shipped.stage
    if len(shipped.lineage) != 1:
        raise CannotSplitError(
            "the image is built from several stages on top of each other, and which files run is not told"
        )
    if stage.index != len(site.dockerfile.stages) - 1 or (site.target and site.target != stage.name):
        raise CannotSplitError("another stage follows the one that is shipped")
    if site.target and _ASIDE.search(site.target):
        raise CannotSplitError(f"builds ask for the stage {site.target} by name, which is not one that ships")
    if not any(found.name in WORK for found in stage.body):
        raise CannotSplitError("nothing is built before the container starts")
    if shipped.base is None:
        raise CannotSplitError(f"nothing is known of {shipped.base_named}, so neither is what can run in its place")
    if shipped.base.family == "php":
        from coach.split import php

        return php.php(shipped)
    workdir = site.graph.state_at_end(stage).workdir
    if workdir is None:
        raise CannotSplitError("the working directory cannot be told")
    if shipped.base.family == "ruby":  # all of the project ships, so whatever script starts it finds what it needs
        from coach.split import ruby

        return assemble(shipped, ruby.ruby(shipped, workdir), workdir)
    if shipped.base.family == "python" and any(step.ecosystem == "python" for _, step in shipped.installs):
        from coach.split import python

        return assemble(shipped, python.python(shipped, workdir), workdir)
    words = _start_words(shipped)
    if shipped.base.family == "bun" and re.fullmatch(r"run|start|x|.*\.[cm]?[jt]sx?", words[0]):
        words = ["bun", *words]  # the image's own entrypoint runs such words by bun
    name = posixpath.basename(words[0])
    # a repository is in one language: what takes the others apart is not imported for it
    from coach.split import program

    if name == "java" and "-jar" in words:
        draft = program.java(shipped, words)
    elif name == "dotnet" and len(words) > 1 and words[1].endswith(".dll"):
        draft = program.dotnet(shipped, words, workdir)
    elif name in _NODE:
        from coach.split import node

        draft = node.node(shipped, words, workdir)
    elif name in _PYTHON:
        from coach.split import python

        draft = python.python(shipped, workdir)
    elif name in _RUNNERS:
        raise CannotSplitError(
            f"the command starts {name}, which the runtime stage would lack: start the program itself"
        )
    else:
        draft = program.program(shipped, words[0], workdir)
    return assemble(shipped, draft, workdir)


def _start_words(shipped: Shipped) -> list[str]:
    """The words of the one command that the container runs."""
    start = shipped.start
    if start.entrypoint is None and start.command is None:
        raise CannotSplitError("neither CMD nor ENTRYPOINT says what runs")
    commands = [command for command in start.script.commands if command.name]
    if len(commands) != 1 or not commands[0].words:
        raise CannotSplitError("the container's command is a script of several commands")
    words = list(commands[0].words)
    if any(word is None for word in words[:1]):
        raise CannotSplitError("the container's command is a variable")
    texts = [word or "" for word in words]
    if posixpath.basename(texts[0]) in _INITS:
        texts = [word for word in texts[1:] if not word.startswith("-")]
        if not texts:
            raise CannotSplitError("what the container's init starts is not told")
    view = shipped.site.layers.view(shipped.stage)
    state = shipped.site.graph.state_at_end(shipped.stage)
    place = posixpath.normpath(posixpath.join(state.workdir or "/", texts[0]))
    if place in view or posixpath.basename(texts[0]) in ("sh", "bash"):
        raise CannotSplitError(f"the container starts with the script {texts[0]}, and what that needs is not told")
    return texts


def sketch(shipped: Shipped) -> str:
    """The two stages to write by hand, with this file's own names."""
    stage, base = shipped.stage, shipped.base
    runtime = base.runtime[0] if base is not None and base.runtime else shipped.base_named
    if base is not None and base.role is Role.OS:
        runtime = shipped.base_named
    work = [found for found in stage.body if found.name in WORK]
    until = work[-1].end_line if work else stage.head.end_line
    workdir = shipped.site.graph.state_at_end(stage).workdir or "/app"
    said = [found for found in (shipped.start.entrypoint, shipped.start.command) if found is not None]
    tail = "\n".join(text_of(shipped, found) for found in said)
    root = shipped.lineage[0]
    return (
        f"Keep lines {root.head.line} to {until} as a stage named `{build_name(shipped)}`. A second stage takes only "
        f"what runs:\n\n```dockerfile\nFROM {runtime}\nWORKDIR {workdir}\n"
        f"COPY --from={build_name(shipped)} <what the command needs> ./\n{tail}\n```"
    )
