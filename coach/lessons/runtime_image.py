"""Is the final image bloated: more than 300 MB, or shipping build tools?"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from itertools import islice

from coach import images
from coach.errors import CoachError
from coach.images import ImageFacts, Libc, Role
from coach.knowledge import native
from coach.linkage import Linker
from coach.model import Answer, Edit, Evidence, Remedy, Safety, Span, certain, likely, unknown
from coach.shell import parse
from coach.shipped import (
    DevInstall,
    OsPackages,
    Shipped,
    agreed,
    dev_installs,
    later_runtime,
    runtime_library,
    variants,
)
from coach.site import Site

NODE = "runtime_image"
FIX = "F6"
SECTION = "Distroless vs Alpine"
ANTI_PATTERN = "A runtime base with a toolchain in it"

LIMIT_MB = 300
_ENOUGH = 12  # places of one kind that are cited; more would not change the answer
_SHELL_STARTERS = frozenset({"npm", "npx", "yarn", "pnpm", "sh", "bash"})


def probe(site: Site) -> Answer:
    """``yes`` when the base or the image's own layers carry what only building needs, or the base is too large."""
    return agreed([_judge(site, shipped) for shipped in variants(site)])


def _judge(site: Site, shipped: Shipped) -> Answer:
    base = site.cite(shipped.base_line, _describe(shipped))
    behind = later_runtime(site) if site.target else None
    if behind is not None and _carries(shipped):
        stage, copy = behind
        small = site.cite(
            stage.head.line, f"the small stage, never built: it takes its files from line {copy.instruction.line}"
        )
        evidence = [*_target_lines(site), base, small]
        return certain(
            "yes", f"the build stops at stage {site.final.name}, which ships {shipped.base_named}", *evidence
        )
    if _development(site):
        return likely("no", "a development container is meant to hold its tools", base)
    reasons, evidence, sure = [], [], False
    if _carries(shipped):
        assert shipped.base is not None
        sure = shipped.base.family != "php"
        reasons.append(f"{shipped.base_named} carries build tools{_size(shipped.base)}")
        evidence.append(base)
    elif shipped.base is not None and shipped.base.mb is not None and shipped.base.mb[0] > LIMIT_MB:
        sure = True
        reasons.append(f"{shipped.base_named} alone is{_size(shipped.base)}")
        evidence.append(base)
    for install, names in shipped.packages_like("compilers", "headers")[:_ENOUGH]:
        sure = True
        reasons.append(f"{', '.join(names)} only matters for compiling")
        evidence.append(_cite(site, install, f"installs {', '.join(names)}"))
    for install, names in _idle_fetchers(shipped):
        reasons.append(f"{', '.join(names)} is only used while building")
        evidence.append(_cite(site, install, f"installs {', '.join(names)}"))
    for dev in islice(dev_installs(shipped), _ENOUGH):
        reasons.append(f"the development dependencies of `{dev.step.manager}` ship")
        evidence += _cite_dev(site, dev)
    if reasons:
        answer = certain if sure else likely
        return answer("yes", "; ".join(dict.fromkeys(reasons)), *dict.fromkeys(evidence))
    return _small(shipped, base)


def _small(shipped: Shipped, base: Evidence) -> Answer:
    facts = shipped.base
    if facts is None or facts.role is None:
        named = shipped.base_named
        return unknown(
            f"nothing is known of the base image {named}",
            f"docker image inspect --format '{{{{.Size}}}}' {named}, and look for gcc, git or a JDK in it",
            base,
        )
    if facts.mb is not None and facts.mb[1] <= LIMIT_MB and not shipped.runs:
        return certain(
            "no", f"{shipped.base_named} carries no build tools{_size(facts)}, and only files are added", base
        )
    return likely(
        "no", f"{shipped.base_named} carries no build tools{_size(facts)}, and nothing installed here adds any", base
    )


def _carries(shipped: Shipped) -> bool:
    return shipped.base is not None and shipped.base.ships_build_tools


def _describe(shipped: Shipped) -> str:
    facts = shipped.base
    if facts is None:
        return f"{shipped.base_named}: not known"
    kind = {
        Role.SDK: "an SDK",
        Role.LANGUAGE: "a full distribution with a compiler",
        Role.SLIM: "no compiler",
        Role.RUNTIME: "made to run only",
        Role.STATIC: "no libc, no shell",
        Role.OS: "a bare distribution",
        Role.SERVER: "a ready-made server",
        None: "of unknown content",
    }[facts.role]
    return f"{shipped.base_named}: {kind}{_size(facts)}"


def _size(facts: ImageFacts) -> str:
    if facts.mb is None:
        return ""
    low, high = facts.mb
    return f", {low} to {high} MB on disk" if high else ", empty"


def _development(site: Site) -> bool:
    return ".devcontainer" in site.path.split("/")


def _target_lines(site: Site) -> list[Evidence]:
    return [
        site.cite(build.line, f"builds target {site.target}", path=build.path)
        for build in site.builds
        if build.target == site.target
    ]


def _cite(site: Site, install: OsPackages, says: str) -> Evidence:
    instruction = install.run.instruction
    return site.cite(instruction.line, says, instruction.end_line)


def _cite_dev(site: Site, dev: DevInstall) -> list[Evidence]:
    instruction = dev.run.instruction
    found = [site.cite(instruction.line, "installs development dependencies too", instruction.end_line)]
    if dev.through is not None:
        found.append(site.cite(dev.through.instruction.line, "copies them into the image"))
    return found


def _idle_fetchers(shipped: Shipped) -> list[tuple[OsPackages, tuple[str, ...]]]:
    """``git`` and its like that a RUN of the image uses and nothing else seems to."""
    if not shipped.installs and not shipped.builds:
        return []  # not an application that fetched its dependencies: what runs here may well call git
    used = {command.name for run in shipped.runs for command in run.script.commands}
    wanted = " ".join([*_texts(shipped, "HEALTHCHECK"), *_texts(shipped, "CMD"), *_texts(shipped, "ENTRYPOINT")])
    return [
        (install, names)
        for install, names in shipped.packages_like("fetchers")
        if all(name in used and name not in wanted for name in names)
    ]


def _texts(shipped: Shipped, name: str) -> list[str]:
    return [found.value for found in shipped.instructions(name)]


def remedy(site: Site, answer: Answer) -> Remedy | None:
    """A smaller base that can run this command, runtime libraries for headers, production dependencies only."""
    if answer.choice != "yes":
        return None
    shipped = Shipped(site)
    behind = later_runtime(site) if site.target else None
    if behind is not None and _carries(shipped):
        return _other_target(site, behind[0].name)
    edits: list[Edit] = []
    reasons: list[str] = []
    says: list[str] = []
    left: list[str] = []
    if _carries(shipped):
        _swap(shipped, edits, reasons, says, left)
    _packages(shipped, edits, reasons, says, left)
    _production(shipped, edits, reasons, says, left)
    if edits and not left:
        try:
            if probe(site.after(edits)).choice == "no":
                return Remedy(Safety.REVIEW, tuple(edits), tuple(dict.fromkeys(reasons)), " ".join(says))
            left.append("the image would still carry build tools after the change")
        except CoachError as error:
            left.append(error.says)
    return Remedy(Safety.SHOW, reasons=tuple(dict.fromkeys(left)), guidance="\n".join([*says, *left]))


def _other_target(site: Site, name: str | None) -> Remedy:
    places = [f"{build.path}:{build.line}" for build in site.builds if build.target == site.target]
    where = f" at {', '.join(places)}" if places else ""
    instead = f"build `{name}` instead" if name else "leave the target out, so that the last stage is built"
    says = f"The build asks for stage `{site.target}`{where}. For an image that is shipped, {instead}."
    return Remedy(Safety.SHOW, reasons=("only you know whether this build is for development",), guidance=says)


def _swap(shipped: Shipped, edits: list[Edit], reasons: list[str], says: list[str], left: list[str]) -> None:
    """Name a smaller base in FROM."""
    site, head = shipped.site, shipped.lineage[0].head
    assert shipped.base is not None
    if shipped.builds:
        first = shipped.builds[0]
        left.append(f"`{first.shown}` (line {first.run.line}) needs this base: split build from runtime first.")
        return
    compiled = _compiled_here(shipped)
    if compiled:
        left.append(f"{compiled} is compiled when it is installed, which needs this base: install it in a build stage.")
        return
    chosen = _counterpart(shipped, left)
    if chosen is None:
        return
    base = shipped.lineage[0]
    written = base.base
    shared = [
        stage for stage in site.graph.reachable if stage not in shipped.lineage and base in site.graph.chain(stage)
    ]
    if shared:
        other = shared[0].name or shared[0].index
        left.append(f"Line {head.line} is also the base of stage {other}: give the final stage `FROM {chosen}`.")
        return
    if written != shipped.base_ref:
        left.append(f"Line {head.line} takes its base from a variable: let it become {chosen}.")
        return
    at = head.value.find(written)
    edits.append(Edit(site.path, Span(head.offset(at), head.offset(at + len(written) - 1) + 1), chosen.encode()))
    says.append(f"{chosen} runs the same command without the build tools.")
    if shipped.base.reference.digest:
        reasons.append("the digest was that of the larger image; pin the new one")
    installs = [step for _, step in shipped.installs]
    if installs:
        reasons.append(f"a dependency that `{installs[0].manager}` must compile would not install without a compiler")
    reasons.append(
        f"{chosen} holds fewer libraries and commands than {shipped.base_named}; the program may need one of them"
    )


def _compiled_here(shipped: Shipped) -> str:
    """A package without ready-made binaries that the image's own layers install, "" when none is known."""
    if not any(step.ecosystem == "python" for _, step in shipped.installs):
        return ""
    from coach.manifests.python_facts import python_facts

    found = python_facts(shipped.site.tree, shipped.site.context).compiled
    words = {word for _, step in shipped.installs for word in step.command.words if word}
    named = sorted(words & native.compiled("python").keys())
    return found[0].name if found else "".join(named[:1])


def _counterpart(shipped: Shipped, left: list[str]) -> str | None:
    """The first smaller image that can run what this image runs."""
    assert shipped.base is not None
    refused = []
    for candidate in shipped.base.runtime:
        facts = images.lookup(candidate)
        if facts is None:
            continue
        problem = _problem(shipped, facts)
        if problem is None:
            return candidate
        refused.append(f"{candidate}: {problem}")
    if refused:
        left.append("No smaller base can simply take its place: " + "; ".join(refused) + ".")
    else:
        left.append(f"There is no smaller variant of {shipped.base_named} that is known to run this.")
    return None


def _problem(shipped: Shipped, facts: ImageFacts) -> str | None:
    """Why ``facts`` cannot run this image's command and layers; ``None`` when nothing speaks against it."""
    base = shipped.base
    assert base is not None
    if facts.libc is not base.libc and not (facts.libc is Libc.NONE and _static(shipped)):
        return f"it is {facts.libc or 'without a known libc'}, this is {base.libc}"
    start = shipped.start
    checks = " ".join(_texts(shipped, "HEALTHCHECK"))
    first = posixpath.basename(start.words[0]) if start.words else ""
    if not facts.shell:
        if shipped.runs:
            return f"it has no shell, and line {shipped.runs[-1].line} needs one"
        if start.shell or first in _SHELL_STARTERS:
            return "it has no shell, and the command needs one"
        if checks and not checks.upper().startswith("NONE"):
            return "it has no shell, and HEALTHCHECK needs one"
        if facts.entrypoint:
            return "its own entrypoint would come before the command"
    if base.packages and facts.packages != base.packages and shipped.packages:
        return f"line {shipped.packages[0].run.line} uses {shipped.packages[0].tool}"
    missing = sorted(tool for tool in base.tools - facts.tools if _uses(shipped, tool))
    if missing:
        return f"it has no {', '.join(missing)}, which this image uses"
    return None


def _static(shipped: Shipped) -> bool:
    """Whether all that runs was copied from a build that links nothing."""
    linker = Linker(shipped.site)
    return bool(shipped.artefacts) and not any(linker.natives(copy) for copy in shipped.artefacts)


def _uses(shipped: Shipped, tool: str) -> bool:
    """Whether a layer, the health check or the start command calls ``tool`` without installing it."""
    if any(tool in install.names for install in shipped.packages):
        return False
    if any(command.name == tool for run in shipped.runs for command in run.script.commands):
        return True
    texts = [*_texts(shipped, "HEALTHCHECK"), *_texts(shipped, "CMD"), *_texts(shipped, "ENTRYPOINT")]
    return any(tool in words for words in _words(texts))


def _words(texts: Iterable[str]) -> Iterable[set[str]]:
    for text in texts:
        bare = text.replace("[", " ").replace("]", " ").replace(",", " ").replace('"', " ")
        found = set(bare.split())
        for command in parse(bare).commands:
            found |= {posixpath.basename(word) for word in command.words if word}
        yield found


def _packages(shipped: Shipped, edits: list[Edit], reasons: list[str], says: list[str], left: list[str]) -> None:
    """Put the runtime library in the place of its headers."""
    site = shipped.site
    for install, names in shipped.packages_like("compilers", "headers"):
        known = {name: runtime_library(name, install.tool) for name in names}
        text = ", ".join(f"{name} → {library}" if library else name for name, library in known.items())
        line = install.run.line
        places = {word.text: word for word in install.command.peeled if word.text in known}
        sure = install.command.exact and all(known.values()) and set(places) == set(known)
        if sure and not install.run.instruction.heredocs:
            for name, library in known.items():
                word = places[name]
                start, end = install.run.offset(word.start), install.run.offset(word.end - 1) + 1
                edits.append(Edit(site.path, Span(start, end), str(library).encode()))
            says.append(f"Line {line}: the library instead of its headers ({text}).")
            reasons.append("the library's package name is Debian's or Alpine's of today; releases rename such packages")
        else:
            left.append(f"Line {line}: move {text} to the stage that compiles; install only the libraries here.")
    for install, names in _idle_fetchers(shipped):
        left.append(f"Line {install.run.line}: fetch with {', '.join(names)} in a stage that is not shipped.")


def _production(shipped: Shipped, edits: list[Edit], reasons: list[str], says: list[str], left: list[str]) -> None:
    """Leave development dependencies out of what is copied."""
    site = shipped.site
    done: set[tuple[int, str]] = set()
    for dev in dev_installs(shipped):
        step, stage = dev.step, dev.run.stage
        key = (stage.index, step.directory or "")
        flag = {"uv": ("sync", "--no-dev"), "poetry": ("install", "--only main"), "pdm": ("install", "--prod")}.get(
            step.manager
        )
        prune = {"npm": "npm prune --omit=dev", "pnpm": "CI=true pnpm prune --prod"}.get(step.manager)
        if step.manager == "pnpm" and any(path == f"{step.directory}/pnpm-workspace.yaml" for path in dev.run.files):
            prune = None  # https://pnpm.io/cli/prune: it does not know workspaces
        if flag is not None and not step.via:
            word = next((word for word in step.command.peeled if word.text == flag[0]), None)
            if word is not None and step.command.exact:
                at = dev.run.offset(word.end - 1) + 1
                edits.append(Edit(site.path, Span(at, at), f" {flag[1]}".encode()))
                says.append(f"Line {dev.run.line}: `{flag[1]}`.")
                reasons.append("something at run time may rely on a development dependency")
                continue
        if prune is not None and dev.through is not None and isinstance(dev.through.source, type(stage)):
            if key in done:
                continue
            done.add(key)
            source = dev.through.source
            last = max(
                (i for i in source.body if i.name in ("RUN", "COPY", "ADD")), key=lambda i: i.span.start, default=None
            )
            state = site.graph.state_at_end(source)
            if last is not None and state.workdir == step.directory:
                eol = site.dockerfile.eol
                edits.append(Edit(site.path, Span(last.span.end, last.span.end), eol + f"RUN {prune}".encode()))
                says.append(f"`{prune}` once everything is built.")
                reasons.append("something at run time may rely on a development dependency")
                continue
        left.append(f"Line {dev.run.line}: install production dependencies only, or prune them before they are copied.")
