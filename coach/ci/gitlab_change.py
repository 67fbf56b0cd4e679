"""What to write into ``.gitlab-ci.yml`` so that a build keeps its cache, hands over secrets, or signs what it pushes.

Sources (read 2026-11): docs.gitlab.com/ci/docker/docker_layer_caching; github.com/docker/buildx/issues/413 (a builder
cannot be created from TLS variables, only from a context); docs.gitlab.com/ci/yaml/signing_examples (GitLab.com only,
``aud: sigstore``, the digest and not the tag); buildah-build(1) (``--cache-to`` needs ``--layers`` and takes a
repository without a tag); docs.gitlab.com/ci/variables/predefined_variables (``CI_COMMIT_REF_SLUG``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from coach.ci import command_edit, commands, compose_change, gitlab, guidance, yamledit
from coach.ci.command_edit import MOUNTS, Command
from coach.ci.commands import Call, Filled, Text
from coach.ci.gitlab import Pipeline
from coach.ci.nouns import AddCache, NativeArm, SecretArgs, Sign, Want
from coach.ci.yamldoc import Joined, Node
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Edit, Remedy, Safety, Tree

_BUILDER = ("docker context create ci", "docker buildx create --use --driver docker-container ci")
_LOGIN = re.compile(r"\blogin\b[^\n;&|]*\$\{?CI_REGISTRY\b|\.docker/config\.json|auth\.json")
_ANY_LOGIN = re.compile(r"\b(?:docker|buildah|podman)\s+login\b|\.docker/config\.json|credential-")
_NAME = re.compile(r"(?:[\w./:-]|\$\{?\w+\}?)+")
_OFFICIAL = re.compile(r"(?:^|/)docker:")
_OLD = re.compile(r"(?:^|/)docker:(?:1\d|2[0-2]|stable)\b")
_NEW = 28
_PUBLIC = "the signature, with the project's path, goes into a public log"


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for a build that a GitLab job holds."""
    return guidance.edited(build, want, lambda: _change(tree, build, want), _snippet(build, want))


def _change(tree: Tree, build: BuildSite, want: Want) -> Remedy | None:
    if isinstance(want, SecretArgs) and build.defined_in:
        return compose_change.secret_args(tree, build, want)
    if build.tool == "workflow":
        raise CannotEditError("the build steps stand in what is included from another place")
    if build.tool == "compose" or build.defined_in:
        raise CannotEditError("what is built is told by a file that people read too, not by this job")
    job = _Job(tree, build)
    if isinstance(want, AddCache):
        return _add_cache(job, want)
    if isinstance(want, SecretArgs):
        command, _ = job.command()
        edits = command_edit.secrets(command, build, want.names)
        if build.driver in ("", "docker") and (job.pipeline.engine(job.layers) or _NEW) < _NEW:
            edits += command_edit.newer_frontend(tree, build)
        return command_edit.handed_over(build, want, edits)
    if isinstance(want, Sign):
        return _sign(job)
    return None


class _Job:
    """The job that holds a build, as the nodes it is laid together from, and the lines that its shell runs."""

    def __init__(self, tree: Tree, build: BuildSite) -> None:
        self.tree = tree
        self.build = build
        self.pipeline = Pipeline(tree)
        self.pipeline.load(gitlab.ROOT, 0)
        self.layers = self.pipeline.layers(build.job)
        self.nodes = self.pipeline.script(self.layers)
        self.joined = Joined(self.nodes)
        self.text = self.joined.text

    def command(self) -> tuple[Command, Node]:
        """The command that builds, and the line of the script it stands in."""
        return self._at(self.build)

    def _at(self, build: BuildSite) -> tuple[Command, Node]:
        return command_edit.in_nodes(self.tree, build, self.nodes)

    def calls(self) -> list[Call]:
        """The job's own image commands."""
        return commands.calls(self.tree, Text(Filled(self.text), {}, ""), follow=False)

    def first(self) -> tuple[Command, Node]:
        """The first command of the job that builds with docker: what a builder has to be made in front of."""
        for call in self.calls():
            if call.invocation.verb == "build" and call.invocation.tool in ("docker", "buildx"):
                path, line = self.joined.place(call.at)
                if call.guarded or path != self.build.path:
                    break
                return self._at(replace(self.build, path=path, line=line))
        return self.command()

    def repository(self, reference: str) -> str:
        """What ``reference`` names, without its tag; variables are looked into until the tag is found."""
        known = self.pipeline.written(self.layers)
        text = re.sub(r"[\"']", "", reference)
        for _ in range(4):
            found = command_edit.repository_of(text)
            if found and _NAME.fullmatch(found) and re.search(r"[/$]", found):
                return found
            text = re.sub(r"\$\{?(\w+)\}?", lambda match: known.get(match[1], match[0]), text)
        return ""


# -- cache ---------------------------------------------------------------------------------------------------------


def _add_cache(job: _Job, want: AddCache) -> Remedy:
    build = job.build
    command, _ = job.command()
    tool = command.invocation.tool
    where = f"`{build.path}` line {build.line}"
    exports = any(ref.type != "inline" for ref in build.cache_to)
    if tool == "buildah" and (build.cache_from or exports):
        raise CannotEditError("the command has cache options of its own already")
    if tool == "kaniko":
        if command.invocation.last("destination", "cache-repo") is None:
            raise CannotEditError("kaniko pushes to no repository beside which its layers could lie")
        return Remedy(
            Safety.REVIEW,
            (command.insert(["--cache=true"]),),
            ("kaniko pushes its layers to `<destination>/cache`: the registry must take them",),
            f"{where} keeps the layers of every stage in the registry, each under a key of its own, so all branches "
            "share them.",
        )
    if exports:
        edits = command_edit.cache(command, build, "")
        says = f"{where} imports the cache it exports, and exports every stage (`mode=max`). {MOUNTS}"
        return Remedy(Safety.SAFE, tuple(edits), (), says)
    repository, own = _repository(job, command)
    suffix = f"-{want.scope}" if want.scope else ""
    reasons: list[str] = []
    if not (_LOGIN if own else _ANY_LOGIN).search(job.text):
        registry = "$CI_REGISTRY" if own else f"the registry of {repository}"
        reasons.append(f"the job must be logged in to {registry} before it builds")
    if tool == "buildah":
        place = f"{repository}/buildcache{suffix}"
        reasons.append(f"buildah pushes every layer it makes to {place}: an old one does not know `--cache-to`")
        return Remedy(
            Safety.REVIEW,
            (command.insert(["--layers", f"--cache-from {place}", f"--cache-to {place}"]),),
            tuple(reasons),
            f"{where} keeps the layers of every stage in the registry, each under a key of its own, so all branches "
            "share them. What cache mounts hold is not among them.",
        )
    edits = []
    variant = _variant(job, command)
    if own:
        name = f"{repository}/buildcache{suffix}"
        place, fallback = f"{name}:$CI_COMMIT_REF_SLUG{variant}", f"{name}:$CI_DEFAULT_BRANCH{variant}"
        says = "one cache for each branch, the default branch's for one that has none yet"
    else:
        place, fallback = f"{repository}:buildcache{suffix}{variant}", ""
        reasons.append(f"the cache is written to {place}, beside the image")
        says = "one cache for all branches"
    if build.driver in ("", "docker"):
        edits.append(_builder(job))
        reasons.append("the build moves from the engine's builder to one of its own")
        image = job.pipeline.image(job.layers)
        if _OLD.search(image):
            raise CannotEditError(f"{image} is too old to bring docker's buildx plug-in for certain: raise it first")
        if not _OFFICIAL.search(image):
            reasons.append(f"the image of the job ({image or 'the default one'}) must bring docker's buildx plug-in")
    edits += command_edit.cache(command, build, place, fallback=fallback)
    guide = f"{where} keeps the layers of every stage (`mode=max`) in the registry, the one place that every runner "
    return Remedy(Safety.REVIEW, tuple(edits), tuple(reasons), f"{guide}reaches: {says}. {MOUNTS}")


def _repository(job: _Job, command: Command) -> tuple[str, bool]:
    """Where the image goes, without its tag, and whether that is the project's own repository."""
    if "CI_REGISTRY" in job.text or any("CI_REGISTRY" in text for text in job.pipeline.texts()):
        return "$CI_REGISTRY_IMAGE", True
    for flag in command.invocation.all("tag", "destination"):
        found = job.repository(command.value(flag))
        if found:
            return found, False
    raise CannotEditError("the pipeline does not use GitLab's registry, and where else the image goes is not written")


def _variant(job: _Job, command: Command) -> str:
    """What tells the caches of a matrix apart: the variables of it that the command uses."""
    axes = job.pipeline.matrix(job.layers)
    text = command.text[command.call.invocation.start : command.call.invocation.end]
    used = [name for name in axes if re.search(rf"\$\{{?{name}\b", text)]
    if len(axes) and not used:
        raise CannotEditError("the jobs of the matrix build different images with one command")
    if any(not re.fullmatch(r"[\w.-]+", value) for name in used for value in axes[name]):
        raise CannotEditError("the values of the matrix do not fit into a tag, so its jobs would share one cache")
    return "".join(f"-${{{name}}}" for name in used)


def _builder(job: _Job) -> Edit:
    """A builder that can export a cache, in front of the first build of the job."""
    command, node = job.first()
    made = [command.before(line, node) for line in _BUILDER]
    return Edit(made[0].path, made[0].span, b"".join(edit.new for edit in made))


# -- signing -------------------------------------------------------------------------------------------------------


def _sign(job: _Job) -> Remedy:
    build = job.build
    if build.tool not in ("docker", "buildx") or build.called_from:
        raise CannotEditError(f"the digest of what {build.tool} pushes is known only where it is pushed")
    if not _OFFICIAL.search(job.pipeline.image(job.layers)):
        raise CannotEditError("whether the image of the job has cosign, or a way to install it, is not known")
    command, node = job.command()
    if command.invocation.on("push") or command.invocation.last("output") is not None:
        signing = _signed_by_name(command)
    else:
        node, signing = _signed_after_push(job)
    if not any(layer.doc is node.doc and _holds(layer, node) and not _is_text(layer) for layer in job.layers):
        raise CannotEditError("the script of the job is no list of lines of its own")
    indent = yamledit.item_indent(node)
    lines = [f"{indent}- apk add --no-cache cosign", f"{indent}- {signing}"]
    edits = [yamledit.insert_after(node.doc, node.end_line, lines), *_identity(job, node)]
    return Remedy(
        Safety.REVIEW,
        tuple(edits),
        (
            "keyless signing takes tokens of GitLab.com (and of the few instances that Sigstore lists), not of others",
            _PUBLIC,
            "the login of the job must be allowed to push the signature beside the image",
        ),
        f"The job `{build.job}` signs what it pushes, by digest and without a key of its own (`cosign verify "
        '--certificate-identity "$CI_PROJECT_URL//.gitlab-ci.yml@refs/heads/<branch>" --certificate-oidc-issuer '
        "https://gitlab.com` checks it).",
    )


def _signed_by_name(command: Command) -> str:
    """The command that signs what the build itself pushed, whose digest the registry knows."""
    for flag in command.invocation.all("tag"):
        reference = re.sub(r"[\"']", "", command.value(flag))
        repository = command_edit.repository_of(reference)
        if command.invocation.on("push") and re.search(r"[/$]", repository) and not re.search(r"\s", reference):
            digest = f"docker buildx imagetools inspect {reference} --format '{{{{json .Manifest.Digest}}}}'"
            return f'cosign sign --yes "{repository}@$({digest} | tr -d \'"\')"'
    raise CannotEditError("the name of the pushed image is put together when it runs")


def _signed_after_push(job: _Job) -> tuple[Node, str]:
    """The line that pushes the image, and the command that signs by the digest the engine learnt from it."""
    pushes = [call for call in job.calls() if call.invocation.verb == "push" and call.invocation.tool == "docker"]
    repositories = {job.repository(tag) for tag in job.build.tags} - {""}
    pushes = [call for call in pushes if _pushed(job, call) in repositories]
    if not pushes or any(call.guarded for call in pushes):
        raise CannotEditError("the job holds no plain `docker push` of this image, whose digest could be signed")
    call = pushes[-1]
    source, _ = job.joined.find(call.at)
    if source is not job.joined.find(max(call.at, call.till - 1))[0] or source.node.doc.path != job.build.path:
        raise CannotEditError("the push is written in another file than the build")
    reference = call.invocation.positionals[-1].raw
    if re.search(r"\s", reference):
        raise CannotEditError("the name of the pushed image is put together when it runs")
    quoted = reference if reference[:1] in ('"', "'") else f'"{reference}"'
    return source.node, f"cosign sign --yes \"$(docker inspect --format '{{{{index .RepoDigests 0}}}}' {quoted})\""


def _pushed(job: _Job, call: Call) -> str:
    """The repository that a push names, without its tag."""
    named = call.invocation.positionals
    return job.repository(named[-1].raw) if named else ""


def _identity(job: _Job, line: Node) -> list[Edit]:
    """The token that Sigstore takes, for the mapping whose script holds ``line``."""
    given = job.pipeline.pick(job.layers, "id_tokens")
    if given is not None:
        if given.get("SIGSTORE_ID_TOKEN") is not None:
            return []
        return [yamledit.add_keys(given, [("SIGSTORE_ID_TOKEN", ["", "  aud: sigstore"])])]
    home = next((layer for layer in job.layers if layer.doc is line.doc and _holds(layer, line)), None)
    if home is None:
        raise CannotEditError("the script of the job is an alias of one that stands elsewhere")
    script = home.entries()["script"]
    indent = yamledit.key_indent(home)
    token = [f"{indent}id_tokens:", f"{indent}  SIGSTORE_ID_TOKEN:", f"{indent}    aud: sigstore"]
    if script.key_column != len(indent):
        raise CannotEditError("the job is written in braces on one line")
    return [yamledit.insert_before(home.doc, script.key_line, token)]


def _holds(layer: Node, line: Node) -> bool:
    script = layer.get("script")
    if script is None or script.key is None:
        return False
    return script.key_line <= line.line <= script.end_line and script.line >= script.key_line


def _is_text(layer: Node) -> bool:
    script = layer.get("script")
    return script is None or not script.is_list


# -- guidance ------------------------------------------------------------------------------------------------------


def _snippet(build: BuildSite, want: Want) -> str:
    file = f" -f {build.dockerfile}" if build.dockerfile not in (None, "Dockerfile") else ""
    context = build.context or "."
    if isinstance(want, AddCache):
        name = f"$CI_REGISTRY_IMAGE/buildcache{f'-{want.scope}' if want.scope else ''}"
        return _fenced(
            _BUILDER,
            [
                ">-",
                "  docker buildx build --push -t $CI_REGISTRY_IMAGE:$CI_COMMIT_SHA",
                f"  --cache-from type=registry,ref={name}:$CI_COMMIT_REF_SLUG",
                f"  --cache-from type=registry,ref={name}:$CI_DEFAULT_BRANCH",
                f"  --cache-to type=registry,ref={name}:$CI_COMMIT_REF_SLUG,mode=max{file} {context}",
            ],
        )
    if isinstance(want, SecretArgs) and build.tool == "kaniko":
        return (
            "kaniko has no secret mounts: build with `docker buildx build` or `buildah build`, or put the value into a "
            "file outside of the context that the step reads and no layer keeps."
        )
    if isinstance(want, SecretArgs):
        return f"```yaml\n  script:\n    - docker build {_secret_flags(want.names)}{file} {context}\n```"
    if isinstance(want, Sign):
        return (
            "```yaml\n  id_tokens:\n    SIGSTORE_ID_TOKEN:\n      aud: sigstore\n  script:\n    # after the push\n"
            "    - cosign sign --yes <image>@<digest>\n```\n\nThat is for GitLab.com. On an instance of your own: "
            "`cosign sign --yes --key gitlab://<group>/<project> <image>@<digest>`, with a key that `cosign "
            "generate-key-pair gitlab://<group>/<project>` put into the project's variables."
        )
    if isinstance(want, NativeArm):
        image = "$CI_REGISTRY_IMAGE:$CI_COMMIT_SHA"
        lines = [
            "image:",
            "  parallel:",
            "    matrix:",
            "      - {ARCH: amd64, RUNNER: saas-linux-small-amd64}",
            "      - {ARCH: arm64, RUNNER: saas-linux-small-arm64}",
            "  tags: [$RUNNER]",
            "  script:",
            f"    - docker build -t {image}-$ARCH{file} {context}",
            f"    - docker push {image}-$ARCH",
            "# then one job that joins them:",
            f"#   docker buildx imagetools create -t {image} {image}-amd64 {image}-arm64",
        ]
        return "\n".join(["```yaml", *lines, "```"])
    return ""


def _fenced(before: Sequence[str], command: Sequence[str]) -> str:
    lines = ["  script:", *(f"    - {line}" for line in before), f"    - {command[0]}"]
    return "\n".join(["```yaml", *lines, *(f"    {line}" for line in command[1:]), "```"])


def _secret_flags(names: Mapping[str, str]) -> str:
    return " ".join(f"--secret id={ident},env={name}" for name, ident in names.items())
