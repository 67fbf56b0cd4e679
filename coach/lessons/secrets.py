"""Can a secret be read back from the image or its history?"""

from __future__ import annotations

import re

from coach import ci
from coach.ci.nouns import SecretArgs
from coach.dockerfile import Instruction
from coach.errors import CoachError
from coach.leaks import Leak, leaks
from coach.model import Answer, Edit, Evidence, Remedy, Safety, Span, certain, likely, unknown
from coach.site import Run, Site

NODE = "secrets"
FIX = "F10"
SECTION = "Secret mounts"
ANTI_PATTERN = "Secret in `ENV` or `ARG`"

# "env: mount the secret to an environment variable", since Dockerfile 1.10.0: moby/buildkit
# frontend/dockerfile/docs/reference.md, RUN --mount=type=secret (read 2026-11).
_NEEDS = (
    "a secret in an environment variable needs Dockerfile syntax 1.10 or newer: raise a `# syntax=` line that pins less"
)


def probe(site: Site) -> Answer:
    """``yes`` when a value that is used as a credential stays in a layer, the configuration or the build records."""
    found = leaks(site)
    real = [leak for leak in found if leak.kind != "arg?"]
    if real:
        evidence = _cite(site, real)
        reason = real[0].says
        if any(leak.sure for leak in real):
            return certain("yes", next(leak.says for leak in real if leak.sure), *evidence)
        return likely("yes", reason, *evidence)
    if found:
        name = found[0].name
        return unknown(
            found[0].says,
            f"ask who passes --build-arg {name}, and whether its value may be read by everyone who has the image",
            *_cite(site, list(found)),
        )
    first = site.cite(site.final.head.line, "no credential is declared, copied or written on the way to this stage")
    return certain("no", "no step takes a credential other than by a secret mount", first)


def _cite(site: Site, found: list[Leak]) -> list[Evidence]:
    evidence = []
    for leak in found:
        evidence.append(site.cite(leak.instruction.line, leak.says, leak.instruction.end_line))
        evidence += [site.cite(run.line, f"reads {leak.name}", run.instruction.end_line) for run in leak.used_by]
        for build in leak.builds:
            line = next((arg.line for arg in build.build_args if arg.name == leak.name), build.line)
            evidence.append(site.cite(line, f"passes {leak.name} from the secret store", path=build.path))
    return list(dict.fromkeys(evidence))


def remedy(site: Site, answer: Answer) -> Remedy | None:
    """Turn build arguments into secret mounts on both sides; what else leaks is shown, with what to do."""
    if answer.choice != "yes":
        return None
    found = [leak for leak in leaks(site) if leak.kind != "arg?"]
    args = [leak for leak in found if leak.kind == "arg" and leak.used_by]
    others = [leak for leak in found if leak not in args]
    rotate = "Rotate every value that was pushed or logged: old layers keep it."
    if others or not args:
        said = [_advice(leak) for leak in found]
        return Remedy(
            Safety.SHOW,
            reasons=tuple(dict.fromkeys(f"line {leak.instruction.line}: {leak.says}" for leak in (others or found))),
            guidance="\n".join(f"- {line}" for line in dict.fromkeys(said)) + f"\n\n{rotate}",
        )
    try:
        edits, reasons = _mounts(site, args)
        for build in {build.path + str(build.line): build for leak in args for build in leak.builds}.values():
            ids = {leak.name: secret_id(leak.name) for leak in args if build in leak.builds}
            change = ci.change(site.tree, build, SecretArgs(ids))
            if change.safety is Safety.SHOW:
                return Remedy(Safety.SHOW, reasons=change.reasons, guidance=f"{change.guidance}\n\n{rotate}")
            edits += [edit for edit in change.edits if edit not in edits]
            reasons += change.reasons
        site.after(edit for edit in edits if edit.path == site.path)
    except CoachError as error:
        return Remedy(Safety.SHOW, reasons=(error.says,), guidance="\n".join(f"- {_advice(leak)}" for leak in args))
    if not any(leak.builds for leak in args):
        wanted = " ".join(f"--secret id={secret_id(leak.name)},env={leak.name}" for leak in args)
        reasons.append(f"every build of this file has to pass {wanted} instead of --build-arg")
    names = ", ".join(dict.fromkeys(leak.name for leak in args))
    guidance = f"{names} is mounted for the steps that read it and no longer declared as an argument. {rotate}"
    return Remedy(Safety.REVIEW, tuple(edits), (_NEEDS, *dict.fromkeys(reasons)), guidance)


def secret_id(name: str) -> str:
    """The id of the secret that replaces an argument: its name in lower case."""
    return name.lower()


def _advice(leak: Leak) -> str:
    place = f"Line {leak.instruction.line}"
    if leak.kind == "env":
        return f"{place}: delete {leak.name}; hand it to the container when it starts (`--env-file`, a secret store)."
    if leak.kind == "file":
        ident = secret_id(leak.name.rsplit("/", 1)[-1].strip(".").replace(".", "_"))
        return (
            f"{place}: do not copy {leak.name}; mount it for the step that reads it, "
            f"`RUN --mount=type=secret,id={ident},target=<its path> …`, and add it to the ignore file."
        )
    if leak.kind == "arg":
        ident = secret_id(leak.name)
        mount = f"RUN --mount=type=secret,id={ident},env={leak.name} …"
        return f"{place}: drop the argument and mount it where it is read, `{mount}`."
    return f"{place}: take the value out of the command; read it from a mount, `RUN --mount=type=secret,id=<name> …`."


def _mounts(site: Site, args: list[Leak]) -> tuple[list[Edit], list[str]]:
    edits: list[Edit] = []
    reasons: list[str] = []
    by_run: dict[int, tuple[Run, list[str]]] = {}
    removed: set[int] = set()
    doc = site.dockerfile
    syntax = re.search(r":1\.(\d+)", doc.syntax or "")
    if syntax is not None and int(syntax[1]) < 10:
        raise CoachError(
            f"the file asks for Dockerfile syntax 1.{syntax[1]}, which cannot mount a secret as a variable"
        )
    for leak in args:
        item = leak.instruction
        if len(item.pairs) != 1:
            raise CoachError(f"line {item.line} declares several names at once")
        kept = [other for other in leak.stage.body if other.name == "ENV" and _names(other, leak.name)]
        for other in (item, *kept):
            if other is not item and len(other.pairs) != 1:
                raise CoachError(f"line {other.line} sets several variables, one of them from {leak.name}")
            if other.span.start not in removed:
                removed.add(other.span.start)
                edits.append(Edit(doc.path, doc.line_span(other.line, other.end_line), b""))
        for run in leak.used_by:
            if _stores(run, leak.name):
                raise CoachError(f"line {run.line} stores {leak.name} in a file of the layer, where a mount leaves it")
            by_run.setdefault(run.instruction.span.start, (run, []))[1].append(leak.name)
            aliases = [name for other in kept for name, _ in other.pairs if name != leak.name]
            if aliases:
                raise CoachError(f"{leak.name} is passed on under another name ({', '.join(aliases)})")
    for run, names in by_run.values():
        at = run.instruction.span.start + len("RUN")
        flags = "".join(f" --mount=type=secret,id={secret_id(name)},env={name}" for name in names)
        edits.append(Edit(doc.path, Span(at, at), flags.encode()))
    return edits, reasons


def _stores(run: Run, name: str) -> bool:
    """Whether a command writes the value into a tool's own settings or a file, and nothing takes it away again."""
    holds = re.compile(rf"\$\{{?{re.escape(name)}\b")
    stored = False
    for command in run.script.commands:
        words = [word or "" for word in command.words]
        said = any(word.text is None and holds.search(word.raw) for word in command.argv)
        written = any(redirect.operator in (">", ">>", ">|") for redirect in command.redirects)
        if said and ("config" in words[1:2] or words[1:2] == ["set"] or written or command.name == "tee"):
            stored = True
        elif stored and (command.name == "rm" or {"--unset", "--unset-all", "--remove-section", "delete"} & {*words}):
            stored = False
    return stored


def _names(item: Instruction, name: str) -> bool:
    return bool(re.search(rf"\$\{{?{re.escape(name)}\b", item.value))
