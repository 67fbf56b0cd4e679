"""What to write into a Jenkinsfile: a cache for a build command, secrets instead of build arguments.

A command stands in a Groovy string; where that fills in variables, a dollar for the shell is written ``\\$``.
Source (read 2026-11): www.jenkins.io/doc/book/pipeline/jenkinsfile, "String interpolation" and "Handling credentials"
(what ``environment`` and ``withCredentials`` set is there for programs, too).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from coach.ci import command_edit, commands, guidance, jenkins
from coach.ci.command_edit import Command
from coach.ci.commands import Filled, Text
from coach.ci.nouns import AddCache, SecretArgs, Want
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Remedy, Tree

_CALL = "docker build "
"""What the plug-in puts in front of the words of ``docker.build``."""
_BY_HAND = """In place of `docker.build(…)`, which calls the engine's own builder:

```groovy
sh 'docker buildx inspect ci || docker buildx create --name ci --driver docker-container'
sh 'docker buildx build --builder ci --cache-from type=registry,ref=<image>:buildcache \\\\
      --cache-to type=registry,ref=<image>:buildcache,mode=max --push -t <image>:<tag> .'
```"""


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for a build that a pipeline runs."""
    snippet = _BY_HAND if isinstance(want, AddCache) else ""
    return guidance.edited(build, want, lambda: _change(tree, build, want), snippet)


def _change(tree: Tree, build: BuildSite, want: Want) -> Remedy | None:
    if not isinstance(want, AddCache | SecretArgs):
        return None
    if build.called_from:
        raise CannotEditError(f"the command stands in {build.path}, which builds elsewhere too")
    content = tree.read(build.path)
    text = content.decode("utf-8", "replace")
    if text.encode() != content:
        raise CannotEditError("the file is not written in UTF-8")
    plain = jenkins.without_comments(text)

    def line(index: int) -> int:
        return plain.count("\n", 0, index) + 1

    near = [step for step in jenkins.steps(plain) if line(step.start) <= build.line]
    if not near or near[-1].string is None:
        raise CannotEditError("the words of the build are not written as one plain string")
    step, string = near[-1], near[-1].string
    filled = jenkins.fill(string, jenkins.environment(plain))
    lead = "" if step.shell else _CALL
    shown = Text(Filled(lead + filled.text, filled.holes), {}, "")
    calls = commands.calls(tree, shown, follow=False)

    def byte(index: int) -> int | None:
        return len(text[: string.start + index - len(lead)].encode()) if index >= len(lead) else None

    def line_of(index: int) -> int:
        return line(string.start + filled.origin(index)) if step.shell else build.line

    call = command_edit.pick(calls, build, line_of)
    command = Command(
        build.path,
        content,
        call,
        shown.source.text,
        lambda index: filled.origin(index - len(lead)) + len(lead) if index >= len(lead) else index,
        byte,
        (lambda added: added.replace("$", "\\$")) if string.fills else (lambda added: added),
    )
    if isinstance(want, AddCache):
        if not step.shell:
            raise CannotEditError("`docker.build` calls the engine's own builder, which exports no cache")
        return command_edit.kept(command, build, want, outlives=True)
    if step.shell:
        return command_edit.handed_over(build, want, command_edit.secrets(command, build, want.names, _known(plain)))
    made = command_edit.secrets(command, replace(build, buildkit=True), want.names, _known(plain))
    needs = ["the engine must build with BuildKit: `environment { DOCKER_BUILDKIT = '1' }` where it is older than 23"]
    return command_edit.handed_over(build, want, made, *([] if build.buildkit else needs))


def _known(text: str) -> Callable[[str], bool]:
    """Tells that a variable is one of the environment; raises for one of the Groovy script."""
    env = jenkins.environment(text)

    def exported(name: str) -> bool:
        if name not in env and re.search(rf"\b(?:def|String)\s+{name}\b", text):
            raise CannotEditError(f"{name} is a variable of the Groovy script, which programs do not see")
        return True

    return exported
