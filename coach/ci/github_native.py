"""A build for several platforms, spread over machines of their own kind, and a job behind it that joins the platforms.

Sources (read 2026-11): docs.docker.com/build/ci/github-actions/multi-platform ("Distribute build across multiple
runners"), docs.docker.com/reference/cli/docker/buildx/imagetools/create, docs.github.com/actions/reference (contexts
that a job's ``if`` may read; labels of the standard machines; names of artifacts are unique in a run).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from coach.ci import build_sites, yamledit
from coach.ci.github_join import joined, moved
from coach.ci.github_repeat import repeats
from coach.ci.github_spot import Spot, builds, events, find, job_name, mapping, replace_input, text_of, uses
from coach.ci.yamldoc import Node
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Edit, Remedy, Safety, Span, Tree

# Standard machines of GitHub, and those of the same system with an arm64 processor.
_ARM = {
    "ubuntu-latest": "ubuntu-24.04-arm",
    "ubuntu-24.04": "ubuntu-24.04-arm",
    "ubuntu-22.04": "ubuntu-22.04-arm",
}
_IS_ARM = re.compile(r"(?:linux/)?(?:arm64|aarch64)(?:/v8)?")
_IS_AMD = re.compile(r"(?:linux/)?(?:amd64|x86_64|386|i386)(?:/v\d)?")
_ARCH = "${{ runner.arch }}"


def spread(tree: Tree, build: BuildSite) -> Remedy:
    """The edits that give each platform a machine of its own. Raises ``CannotEditError``."""
    spot, job = _spot(tree, build)
    inputs = mapping(spot.inputs)
    yamledit.own(inputs, spot.step.line, spot.step.end_line)
    runner = job.get("runs-on")
    machine = _ARM.get(runner.text or "") if runner is not None else None
    if runner is None or runner.text is None or machine is None:
        raise CannotEditError("which arm64 machine stands beside the one it runs on is not known")
    given = inputs.get("platforms")
    if given is None or given.text is None or "${{" in given.text:
        raise CannotEditError("its platforms are not written out in its step")
    wanted = [item for item in re.split(r"[,\s]+", given.text) if item]
    arm = [item for item in wanted if _IS_ARM.fullmatch(item)]
    rest = [item for item in wanted if item not in arm]
    emulated = [item for item in rest if not _IS_AMD.fullmatch(item)]
    _refuse_what_cannot_be_repeated(spot, job)
    edits: list[Edit] = []
    reasons = [f"the machine `{machine}` has to be open to this repository"]
    if rest:
        rows = [(",".join(rest), runner.text), (",".join(arm), machine)]
        edits.append(yamledit.replace_span(spot.doc, runner.span, "${{ matrix.runner }}"))
        edits.append(yamledit.add_keys(job, [("strategy", _matrix(rows))], "runs-on"))
        edits.append(_new_platforms(spot, given))
        edits += _caches(spot, inputs)
    else:
        edits.append(yamledit.replace_span(spot.doc, runner.span, machine))
    if emulated:
        reasons.append(f"still emulated, because GitHub has no machine of that kind: {', '.join(emulated)}")
    else:
        edits += _without_emulator(spot)
    if rest and text_of(inputs, "push") not in ("", "false"):
        made, why = joined(tree, spot, job, inputs)
        edits += made
        reasons += why
    elif rest:
        reasons.append(
            f"the job `{job_name(job)}` runs once on each machine: branch rules that name its check need both"
        )
    guidance = (
        f"`{build.path}` line {build.line} builds arm64 on `{machine}` and the rest on `{runner.text}`, at the same "
        "time" + ("." if emulated else "; nothing is emulated any more.")
    )
    return Remedy(Safety.REVIEW, tuple(edits), tuple(reasons), guidance)


def _spot(tree: Tree, build: BuildSite) -> tuple[Spot, Node]:
    if build.system != "github":
        raise CannotEditError(f"which machines the {build.system} server has is not written here")
    if build.tool == "workflow":
        raise CannotEditError("the build steps stand in a workflow of another repository")
    spot = find(tree, build)
    if spot.job is None:
        raise CannotEditError("it stands in a composite action, which runs on the machine of whoever uses it")
    if spot.action != "docker/build-push-action":
        what = spot.action or "a script"
        raise CannotEditError(f"{what} pushes by other rules than docker/build-push-action, for which this is written")
    if "workflow_call" in events(spot.doc):
        calls = [site for site in build_sites(tree).builds if (site.path, site.line) == (build.path, build.line)]
        if len(calls) > 1:
            raise CannotEditError("its workflow is called several times, and the digests of one run would mix")
    return spot, spot.job


def _refuse_what_cannot_be_repeated(spot: Spot, job: Node) -> None:
    """Raise where a job cannot run once for each platform."""
    for key, why in (
        ("strategy", "its job has a matrix already, which a job behind it would have to follow image by image"),
        ("container", "its job runs in a container, whose image may be made for one kind of machine"),
        ("services", "its job has services, whose images may be made for one kind of machine"),
        ("concurrency", "its job lets one run at a time pass, so that the two machines would wait for each other"),
    ):
        if job.get(key) is not None:
            raise CannotEditError(why)
    shell = job.get("defaults", "run", "shell") or spot.doc.root.get("defaults", "run", "shell")
    if shell is not None and shell.text != "bash":
        raise CannotEditError("its scripts run in another shell than bash")
    if sum(1 for step in spot.steps if step.is_map and builds(step)) > 1:
        raise CannotEditError("its job builds several times, and what one build leaves the next may use")
    for step in spot.steps:
        if (
            uses(step) == "step-security/harden-runner"
            and text_of(step.get("with") or step, "egress-policy") == "block"
        ):
            raise CannotEditError(f"line {step.line} lets its job talk to listed hosts only, and artifacts need others")
    identity = text_of(spot.step, "id")
    said = rf"\bsteps\.{re.escape(identity)}\."
    outputs = job.get("outputs")
    for node in outputs.entries().values() if outputs is not None else ():
        if identity and re.search(said, node.text or ""):
            raise CannotEditError("its job hands what the build says on to other jobs")
    later = moved(spot)
    for index, step in enumerate(spot.steps):
        why = repeats(step) if step.is_map and index != spot.index and step not in later else ""
        if why:
            raise CannotEditError(f"line {step.line} {why}, which would happen on each machine")


def _matrix(rows: Sequence[tuple[str, str]]) -> list[str]:
    lines = ["", "  matrix:", "    include:"]
    for platforms, machine in rows:
        lines += [f"      - platforms: {platforms}", f"        runner: {machine}"]
    return lines


def _new_platforms(spot: Spot, given: Node) -> Edit:
    return replace_input(spot, given, "platforms: ${{ matrix.platforms }}")


def _without_emulator(spot: Spot) -> list[Edit]:
    """Take the step out that registers QEMU, with the comment above it, unless others read what it says."""
    doc = spot.doc
    edits: list[Edit] = []
    for step in spot.steps:
        if uses(step) != "docker/setup-qemu-action":
            continue
        identity = text_of(step, "id")
        if identity and f"steps.{identity}." in doc.text:
            continue
        first, last = yamledit.item_first_line(step), step.end_line
        indent = yamledit.item_indent(step)
        while first > 1 and doc.line_text(first - 1).startswith(f"{indent}#"):
            first -= 1
        if last < len(doc.line_starts) and not doc.line_text(last + 1).strip():
            last += 1
        edits.append(yamledit.delete_lines(doc, first, last))
    return edits


# -- caches --------------------------------------------------------------------------------------------------------


_VALUE = r"((?:\$\{\{.*?\}\}|[^,\"'])*)"


def _caches(spot: Spot, inputs: Node) -> list[Edit]:
    """A cache of its own for each machine: two that write to one place keep what the later one wrote."""
    goes, came = inputs.get("cache-to"), inputs.get("cache-from")
    if goes is None:
        return []
    written = {match[1] for match in re.finditer(rf"\bref={_VALUE}", goes.text or "")}
    several = (
        f"{job_name(spot.job)}-" if spot.job is not None and spot.doc.text.count("/build-push-action@") > 1 else ""
    )
    edits: list[Edit] = []
    for node in (came, goes):
        if node is None or node.text is None:
            continue
        source = node.source()
        at = 0
        for line in source.text.split("\n"):
            found = _cache_suffix(line, written, several)
            if found is not None:
                byte = source.byte(at + found[0])
                if byte is None:
                    raise CannotEditError("its caches are written in a way whose places are not known")
                edits.append(Edit(spot.doc.path, Span(byte, byte), found[1].encode()))
            at += len(line) + 1
    return edits


def _cache_suffix(line: str, written: set[str], image: str) -> tuple[int, str] | None:
    """Where in a cache's line to put what tells the machines, and without a scope the images, apart."""
    text = line.rstrip()
    if not text.strip() or text.strip().startswith("#"):
        return None
    kind = re.search(r"\btype=(\w+)", text)
    if text.strip().startswith("${{") or kind is None:
        raise CannotEditError("its caches are not written out in its step")
    if kind[1] == "gha":
        scope = re.search(rf"\bscope={_VALUE}", text)
        return (scope.end(1), f"-{_ARCH}") if scope is not None else (len(text), f",scope={image}{_ARCH}")
    if kind[1] == "registry":
        ref = re.search(rf"\bref={_VALUE}", text)
        if ref is None or ref[1] not in written:
            return None
        last = re.sub(r"\$\{\{.*?\}\}", "x", ref[1]).rsplit("/", 1)[-1]
        return ref.end(1), f"-{_ARCH}" if ":" in last else f":{_ARCH}"
    if kind[1] == "inline":
        return None
    raise CannotEditError(f"its cache of type {kind[1]} is kept in one place for both machines")
