"""What to write into ``bitbucket-pipelines.yml`` so that a build keeps its cache or hands over secrets.

Sources (read 2026-11): support.atlassian.com/bitbucket-cloud/docs/run-docker-commands-in-bitbucket-pipelines (no
buildx, BuildKit by ``DOCKER_BUILDKIT=1``), …/enable-and-use-runtime-v3 (buildx and its caches);
docs.docker.com/build/cache/backends/inline (the cache of the last stage, inside the image); sigstore/fulcio
config/identity (no token of Bitbucket is taken).
"""

from __future__ import annotations

from coach.ci import bitbucket, command_edit, compose_change, guidance, yamldoc, yamledit
from coach.ci.command_edit import BUILDER, MOUNTS, Command
from coach.ci.nouns import AddCache, NativeArm, SecretArgs, Sign, Want
from coach.ci.yamldoc import Doc, Node
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Edit, Remedy, Safety, Tree


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for a build that a step runs."""
    return guidance.edited(build, want, lambda: _change(tree, build, want), _snippet(build, want))


def _change(tree: Tree, build: BuildSite, want: Want) -> Remedy | None:
    if isinstance(want, Sign):
        raise CannotEditError("Sigstore takes no identity token of Bitbucket: a key has to be made first")
    if isinstance(want, SecretArgs) and build.defined_in:
        return compose_change.secret_args(tree, build, want)
    if not isinstance(want, AddCache | SecretArgs):
        return None
    path = build.called_from or build.path
    doc = yamldoc.read(tree.read(path), path)
    step, command, node = _command(tree, build, doc)
    if isinstance(want, SecretArgs):
        edits = command_edit.secrets(command, build, want.names)
        if not bitbucket.modern(doc, step):
            edits += command_edit.newer_frontend(tree, build)
        return command_edit.handed_over(build, want, edits)
    if bitbucket.modern(doc, step):
        return command_edit.kept(command, build, want, outlives=not _hosted(step), node=node)
    return _inline(build, want, step, command)


def _hosted(step: Node) -> bool:
    return step.get("runs-on") is None


def _command(tree: Tree, build: BuildSite, doc: Doc) -> tuple[Node, Command, Node]:
    """The step that builds, the command, and the line of the script it stands in."""
    for step in bitbucket.steps(doc):
        lines = bitbucket.script(step)
        if any(line.line <= build.line <= line.end_line for line in lines) or build.path != doc.path:
            command, node = command_edit.in_nodes(tree, build, lines)
            return step, command, node
    raise CannotEditError(command_edit.NOT_FOUND)


def _inline(build: BuildSite, want: AddCache, step: Node, command: Command) -> Remedy:
    """A cache inside the pushed image: all that the service's own builder can export."""
    if command.invocation.tool != "docker":
        raise CannotEditError(f"{command.invocation.tool} is not what Bitbucket's Docker service builds with")
    if want.multi_stage:
        raise CannotEditError(
            "this runtime's Docker service can only keep a cache inside the image, which holds the last stage alone"
        )
    if build.cache_from or build.cache_to:
        raise CannotEditError("the command has cache options of its own already")
    place = command_edit.cache_place(command, build, want.scope)
    if not place:
        raise CannotEditError("where the image is pushed, in which a cache could lie, is not written at the build")
    push = next((node for node in bitbucket.script(step) if node.line == build.push_line), None)
    if push is None or "\n" in (push.text or "").strip():
        raise CannotEditError("the push is not a line of the script of its own")
    indent = yamledit.item_indent(push)
    edits: list[Edit] = []
    if not build.buildkit:
        edits += command.assign(["DOCKER_BUILDKIT=1"])
    edits += [
        command.insert(["--build-arg BUILDKIT_INLINE_CACHE=1", f"--cache-from {place}", f"-t {place}"]),
        yamledit.insert_after(push.doc, push.end_line, [f"{indent}- docker push {place}"]),
    ]
    return Remedy(
        Safety.REVIEW,
        tuple(edits),
        (
            *command_edit.why_registry(place),
            "BuildKit makes no use of Bitbucket's docker cache",
        ),
        f"`{build.path}` line {build.line} keeps its layers inside an image, `{place}`, one for all branches: "
        f"Bitbucket's Docker service has no builder that exports more. {MOUNTS}",
    )


# -- guidance ------------------------------------------------------------------------------------------------------


def _snippet(build: BuildSite, want: Want) -> str:
    file = f" -f {build.dockerfile}" if build.dockerfile not in (None, "Dockerfile") else ""
    context = build.context or "."
    if isinstance(want, AddCache):
        place = f"<registry>/<repository>:buildcache{f'-{want.scope}' if want.scope else ''}"
        return _fenced(
            "- step:",
            "    runtime:",
            "      cloud:",
            '        version: "3"',
            "    image: docker:28-cli   # this runtime brings no docker client",
            "    services: [docker]",
            "    script:",
            f"      - {BUILDER}",
            "      - >-",
            "        docker buildx build --push -t <registry>/<repository>:$BITBUCKET_COMMIT",
            f"        --cache-from type=registry,ref={place}",
            f"        --cache-to type=registry,ref={place},mode=max{file} {context}",
        )
    if isinstance(want, SecretArgs):
        flags = " ".join(f"--secret id={ident},env={name}" for name, ident in want.names.items())
        return _fenced("script:", "  - export DOCKER_BUILDKIT=1", f"  - docker build {flags}{file} {context}")
    if isinstance(want, Sign):
        return (
            _fenced(
                "script:", "  # after the push", "  - cosign sign --yes --key env://COSIGN_PRIVATE_KEY <image>@<digest>"
            )
            + "\n\nwith COSIGN_PRIVATE_KEY and COSIGN_PASSWORD as secured variables of the repository. Sigstore takes "
            "no identity token of Bitbucket, so there is no signing without a key here."
        )
    if isinstance(want, NativeArm):
        return (
            "A step on an arm64 runner of your own (`runs-on: [self.hosted, <its label>]`) builds and pushes one "
            "platform, a step on Bitbucket's amd64 machines the other, and `docker buildx imagetools create` in a "
            "third joins them."
        )
    return ""


def _fenced(*lines: str) -> str:
    return "\n".join(["```yaml", *lines, "```"])
