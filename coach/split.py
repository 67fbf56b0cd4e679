"""One stage made into two: the user's own lines build, a new stage behind them runs what they built."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from coach import images
from coach.dockerfile import Instruction
from coach.errors import InputError
from coach.images import ImageFacts, Libc, Role
from coach.linkage import natives, output_of
from coach.model import Edit, Span
from coach.shell import parse
from coach.shipped import (
    Copy,
    Shipped,
    dev_installs,
    is_compiler,
    is_fetcher,
    is_header,
    os_packages,
    runtime_library,
)
from coach.steps import Action

_WORK = frozenset({"RUN", "COPY", "ADD"})
_RESTATED = ("LABEL", "EXPOSE", "VOLUME", "STOPSIGNAL", "SHELL", "HEALTHCHECK", "ENTRYPOINT", "CMD", "USER")
_BUILD_ENV = re.compile(
    r"CGO_ENABLED|GOOS|GOARCH|GOFLAGS|GOPROXY|GOPRIVATE|GOCACHE|GOPATH|GO111MODULE|DEBIAN_FRONTEND|PIP_\w+|CARGO_\w+|"
    r"RUSTFLAGS|npm_config_\w+|NPM_CONFIG_\w+|CI|HUSKY|NODE_OPTIONS|MAVEN_\w+|GRADLE_\w+|CFLAGS|CXXFLAGS|LDFLAGS|UV_\w+|POETRY_\w+"
)
_USER_TOOLS = frozenset({"useradd", "adduser", "groupadd", "addgroup", "usermod"})
_DOWNLOADERS = frozenset({"curl", "wget", "add-apt-repository", "gpg", "aria2c"})
_FOR_GYP = frozenset({"python3", "python", "python-is-python3", "python3-minimal"})
_OUTPUT_DIRS = frozenset({"dist", "build", "lib", "out", ".output", "output", "server-dist"})
_PYTHON_STARTERS = frozenset(
    {
        "python",
        "python3",
        "gunicorn",
        "uvicorn",
        "flask",
        "fastapi",
        "celery",
        "daphne",
        "hypercorn",
        "streamlit",
        "django-admin",
    }
)
_DEV_STARTERS = frozenset({"ts-node", "tsx", "nodemon", "ts-node-dev", "vite", "react-scripts", "webpack"})
_NEXT_FILES = ("public", "next.config.js", "next.config.mjs", "next.config.ts")
_READ_AT_RUN_TIME = frozenset(
    {"templates", "static", "public", "assets", "views", "migrations", "config", "configs", "web", "locales"}
)
VENV = "/opt/venv"


class CannotSplitError(Exception):
    """Why the stage cannot be split by a patch; the text is for the user."""


@dataclass
class Split:
    """Edits that split the stage, what must be looked at, and what they do."""

    edits: list[Edit] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    says: str = ""


@dataclass
class _Draft:
    """The runtime stage as it grows."""

    base: str
    copies: list[str] = field(default_factory=list)
    env: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    says: str = ""


def plan(shipped: Shipped) -> Split:
    """Split ``shipped``'s only stage. Raises ``CannotSplitError`` when what runs cannot be told from the repository."""
    site, stage = shipped.site, shipped.stage
    if len(shipped.lineage) != 1:
        raise CannotSplitError(
            "the image is built from several stages on top of each other, and which files run is not told"
        )
    if stage.index != len(site.dockerfile.stages) - 1 or (site.target and site.target != stage.name):
        raise CannotSplitError("another stage follows the one that is shipped")
    if site.target:
        raise CannotSplitError(f"builds ask for the stage {site.target} by name")
    work = [found for found in stage.body if found.name in _WORK]
    if not work:
        raise CannotSplitError("nothing is built before the container starts")
    if shipped.base is None:
        raise CannotSplitError(f"nothing is known of {shipped.base_named}, so neither is what can run in its place")
    last = work[-1]
    words = _start_words(shipped)
    name = posixpath.basename(words[0])
    workdir = site.graph.state_at_end(stage).workdir
    if workdir is None:
        raise CannotSplitError("the working directory cannot be told")
    if name == "java" and "-jar" in words:
        draft = _java(shipped, words)
    elif name == "dotnet" and len(words) > 1 and words[1].endswith(".dll"):
        draft = _dotnet(shipped, words, workdir)
    elif name in ("node", "npm", "yarn", "pnpm", "next", "npx"):
        draft = _node(shipped, words, workdir)
    elif name in _PYTHON_STARTERS:
        draft = _python(shipped, workdir)
    else:
        draft = _program(shipped, words[0], workdir)
    return _assemble(shipped, draft, last, workdir)


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
    view = shipped.site.layers.view(shipped.stage)
    state = shipped.site.graph.state_at_end(shipped.stage)
    place = posixpath.normpath(posixpath.join(state.workdir or "/", texts[0]))
    if place in view or posixpath.basename(texts[0]) in ("sh", "bash"):
        raise CannotSplitError(f"the container starts with the script {texts[0]}, and what that needs is not told")
    return texts


# ---- what runs, language by language


def _program(shipped: Shipped, word: str, workdir: str) -> _Draft:
    """A compiled program: the file that the command names."""
    site, stage = shipped.site, shipped.stage
    compiled = shipped.builds
    if not compiled:
        raise CannotSplitError(f"no compiler that is known makes {word}")
    outputs = [
        output_of(command) for run in shipped.runs for command in run.script.commands if output_of(command) is not None
    ]
    moved = ""
    if word.startswith("/") or "/" in word:
        path = posixpath.normpath(posixpath.join(workdir, word))
    else:
        made = [output for output in outputs if output and posixpath.basename(output) == word]
        bins = [output for output in outputs if output and posixpath.basename(output) == "bin"]
        if made:
            path = made[0]
        elif bins:
            path, moved = posixpath.join(bins[0], word), f"/usr/local/bin/{word}"
        else:
            raise CannotSplitError(f"where {word} lies in the build stage cannot be told")
    name = str(compiled[0].words[0] or "").rsplit("/", 1)[-1]
    carried = Copy(stage.head, stage, stage, (path,), path)
    linked = natives(site, carried)
    draft = _Draft(_home_of(shipped, bool(linked)))
    draft.copies.append(f"COPY --from=build {path} {moved or path}")
    draft.says = f"`{path}` is built as before and copied into {draft.base}, alone."
    draft.reasons.append(f"only {path} is copied: whatever else it reads at run time must be copied too")
    seen = sorted({entry.split("/", 1)[0] for entry in _relative(shipped) if "/" in entry} & _READ_AT_RUN_TIME)
    embedded = _embeds(shipped)
    found = [folder for folder in seen if folder not in embedded]
    if found:
        draft.reasons.append(f"the repository has {', '.join(f'{folder}/' for folder in found)}, which it may read")
    if linked and name not in ("go", "xx-go"):
        draft.reasons.append("shared libraries that it links against beyond the C library must be in the runtime image")
    return draft


def _home_of(shipped: Shipped, linked: bool) -> str:
    """A base for one program: the smallest that has its C library and, where needed, a shell."""
    base = shipped.base
    assert base is not None
    shell = _needs_shell(shipped)
    release = base.release if base.release in ("bookworm", "trixie") else "trixie"
    if base.role is Role.OS:
        return f"{base.reference.written}:{base.reference.tag or 'latest'}"
    if base.libc is Libc.MUSL:
        if linked or shell:
            alpine = re.search(r"alpine([\d.]+)", base.reference.tag)
            return f"alpine:{alpine[1]}" if alpine else "alpine"
        return "gcr.io/distroless/static-debian13:nonroot"
    if shell:
        return f"debian:{release}-slim"
    if not linked:
        return "gcr.io/distroless/static-debian13:nonroot"
    return f"gcr.io/distroless/{'base' if base.family == 'golang' else 'cc'}-debian13:nonroot"


def _needs_shell(shipped: Shipped) -> bool:
    """Whether the runtime stage must hold a shell or a package manager."""
    if any(found.name == "HEALTHCHECK" and not found.value.upper().startswith("NONE") for found in shipped.stage.body):
        return True
    if any(re.match(r"[A-Za-z_]", found.value) for found in shipped.instructions("USER")):
        return True
    if _runtime_packages(shipped)[0]:
        return True
    start = shipped.start
    if not start.shell:
        return False
    said = start.command or start.entrypoint
    return said is None or _plain_words(said.value) is None


def _plain_words(text: str) -> list[str] | None:
    """The words of a shell-form command that needs no shell, ``None`` when it does."""
    if re.search(r"[$`|&;<>()*?~#\\\n\"'{}=]|\[|\]", text):
        return None
    words = text.split()
    if words[:1] == ["exec"]:
        words = words[1:]
    return words or None


def _java(shipped: Shipped, words: Sequence[str]) -> _Draft:
    at = words.index("-jar")
    jar = words[at + 1] if at + 1 < len(words) else ""
    state = shipped.site.graph.state_at_end(shipped.stage)
    if not jar or "$" in jar:
        raise CannotSplitError("which jar runs cannot be told")
    path = posixpath.normpath(posixpath.join(state.workdir or "/", jar))
    if path in shipped.site.layers.view(shipped.stage):
        raise CannotSplitError("the jar that runs comes out of the repository, not out of the build")
    assert shipped.base is not None
    if not shipped.base.runtime:
        raise CannotSplitError(f"no runtime image is known for {shipped.base_named}")
    target = posixpath.dirname(path) + "/" if "*" in path else path
    draft = _Draft(shipped.base.runtime[0], copies=[f"COPY --from=build {path} {target}"])
    draft.says = f"The jar is built as before and copied into {draft.base}, alone."
    draft.reasons.append(f"only {path} is copied: configuration that it reads from files must be copied too")
    return draft


def _dotnet(shipped: Shipped, words: Sequence[str], workdir: str) -> _Draft:
    program = posixpath.normpath(posixpath.join(workdir, words[1]))
    outputs = {
        output_of(command)
        for run in shipped.runs
        for command in run.script.commands
        if command.name == "dotnet" and "publish" in command.words
    }
    out = next((folder for folder in outputs if folder and program.startswith(folder + "/")), None)
    if out is None:
        raise CannotSplitError("no `dotnet publish -o` makes the program that runs")
    assert shipped.base is not None
    if not shipped.base.runtime:
        raise CannotSplitError(f"no runtime image is known for {shipped.base_named}")
    draft = _Draft(shipped.base.runtime[0], copies=[f"COPY --from=build {out} {out}"])
    draft.says = f"`{out}` is published as before and copied into {draft.base}, alone."
    draft.reasons.append("a program that is no web application also runs on the smaller dotnet/runtime image")
    return draft


def _node(shipped: Shipped, words: Sequence[str], workdir: str) -> _Draft:
    base = shipped.base
    assert base is not None
    if base.family != "node" or workdir == "/":
        raise CannotSplitError(f"{shipped.base_named} is not an image of Node.js with a working directory of its own")
    _refuse_downloads(shipped)
    installs = [step for _, step in shipped.installs if step.action is Action.INSTALL and step.ecosystem == "node"]
    if not installs or any(step.directory != workdir for step in installs):
        raise CannotSplitError("the dependencies are not installed in the working directory")
    manifest = _json(shipped, posixpath.join(workdir, "package.json"))
    manager = installs[0].manager
    entry = _entry(words, manifest, manager)
    draft = _Draft(base.runtime[0] if base.role is Role.LANGUAGE and base.runtime else shipped.base_named)
    if base.role is Role.LANGUAGE and not base.runtime:
        raise CannotSplitError(f"no smaller variant of {shipped.base_named} is known")
    if any(dev.through is None for dev in dev_installs(shipped)):
        prune = {"npm": "npm prune --omit=dev", "pnpm": "pnpm prune --prod"}.get(manager)
        if prune is None:
            raise CannotSplitError(f"how {manager} leaves out development dependencies here is not certain")
        draft.before.append(f"RUN {prune}")
        draft.reasons.append(f"`{prune}` drops every devDependency: the program must not need one to run")
    parts = _node_parts(shipped, workdir, entry, manifest)
    if parts is None:
        draft.copies.append(f"COPY --from=build {workdir} {workdir}")
        draft.reasons.append(f"all of {workdir} is copied, since it runs from its sources")
    else:
        draft.copies += [f"COPY --from=build {path} {path}" for path in parts]
        listed = ", ".join(posixpath.relpath(path, workdir) for path in parts)
        draft.reasons.append(f"only {listed} are copied: whatever else is read at run time must be copied too")
    declared = manifest.get("dependencies")
    names = set(declared) if isinstance(declared, dict) else set()
    if "prisma" in names or "@prisma/client" in names:
        draft.reasons.append("Prisma's generated client must survive the pruning")
    draft.says = f"The build stays as it is; {draft.base} runs its result with production dependencies only."
    return draft


def _entry(words: Sequence[str], manifest: dict[str, object], manager: str) -> list[str]:
    """The ``node …`` or framework command behind a start command."""
    texts = list(words)
    name = posixpath.basename(texts[0])
    if name in ("npm", "yarn", "pnpm"):
        if name == "pnpm" or (name == "yarn" and manager == "yarn-berry"):
            raise CannotSplitError(
                f"the command starts {name}, which the runtime image does not have: start node itself"
            )
        plain = [word for word in texts[1:] if not word.startswith("-")]
        script = plain[1] if plain[:1] in (["run"], ["run-script"]) and len(plain) > 1 else "".join(plain[:1])
        scripts = manifest.get("scripts")
        text = scripts.get(script) if isinstance(scripts, dict) else None
        if not isinstance(text, str):
            raise CannotSplitError(f"package.json has no script {script!r}")
        commands = [command for command in parse(text).commands if command.name]
        if len(commands) != 1:
            raise CannotSplitError(f"the script {script!r} runs several commands")
        texts = [word or "" for word in commands[0].words]
        name = posixpath.basename(texts[0])
    if name == "npx":
        texts = texts[1:]
    if not texts or posixpath.basename(texts[0]) in _DEV_STARTERS:
        raise CannotSplitError("the command runs a development tool, not a build")
    return texts


def _node_parts(shipped: Shipped, workdir: str, entry: Sequence[str], manifest: dict[str, object]) -> list[str] | None:
    """What runs, when it was built into a directory of its own; ``None`` when it runs from its sources."""
    relative = _relative(shipped)
    view = shipped.site.layers.view(shipped.stage)
    if "workspaces" in manifest:
        return None
    keep = [posixpath.join(workdir, "package.json"), posixpath.join(workdir, "node_modules")]
    name = posixpath.basename(entry[0])
    if name == "next" and "start" in entry:
        extra = [one for one in _NEXT_FILES if _has(relative, one)]
        return [*keep, posixpath.join(workdir, ".next"), *(posixpath.join(workdir, one) for one in extra)]
    if name != "node":
        return None
    file = next((word for word in entry[1:] if word and not word.startswith("-")), "")
    path = posixpath.normpath(posixpath.join(workdir, file))
    if not path.startswith(workdir + "/"):
        return None
    folder = path[len(workdir) + 1 :].split("/", 1)[0]
    target = posixpath.join(workdir, folder)
    made_here = not any(place == target or place.startswith(target + "/") for place in view)
    if folder not in _OUTPUT_DIRS or not made_here or not shipped.builds:
        return None
    extra = [one for one in ("public", "views") if _has(relative, one)]
    return [*keep, target, *(posixpath.join(workdir, one) for one in extra)]


def _has(relative: set[str], name: str) -> bool:
    return name in relative or any(path.startswith(name + "/") for path in relative)


def _python(shipped: Shipped, workdir: str) -> _Draft:
    site, base = shipped.site, shipped.base
    assert base is not None
    if base.family != "python" or workdir == "/":
        raise CannotSplitError(f"{shipped.base_named} is not an image of Python with a working directory of its own")
    _refuse_downloads(shipped)
    installs = [(run, step) for run, step in shipped.installs if step.ecosystem == "python"]
    if not installs or any(step.manager != "pip" for _, step in installs):
        raise CannotSplitError("only environments that pip fills can be moved by a patch")
    for run, step in installs:
        words = {word or "" for word in step.command.words}
        absolute = any(word.startswith("/") for word in step.command.words[:1] if word)
        if absolute or {"--user", "--target", "-t", "--prefix", "--root"} & words:
            raise CannotSplitError(f"line {run.line} installs to a place of its own")
    if any(run.state.user not in ("root", "0") for run, _ in installs):
        raise CannotSplitError("the packages are installed by a user who may not write outside of a home directory")
    if any("VIRTUAL_ENV" in run.state.names() for run, _ in installs):
        raise CannotSplitError("a virtual environment is used already: copy it to a runtime stage")
    first = min((run.instruction for run, _ in installs), key=lambda found: found.span.start)
    tools = [run.instruction for run in shipped.runs if any(step.manager == "pip" for step in run.steps)]
    first = min([first, *tools], key=lambda found: found.span.start)
    eol = site.dockerfile.eol
    lines = f'RUN python -m venv {VENV}\nENV PATH="{VENV}/bin:$PATH"\n'.encode().replace(b"\n", eol)
    draft = _Draft(base.runtime[0] if base.role is Role.LANGUAGE and base.runtime else shipped.base_named)
    draft.edits.append(Edit(site.path, Span(first.span.start, first.span.start), lines))
    draft.env.append(f'ENV PATH="{VENV}/bin:$PATH"')
    draft.copies += [f"COPY --from=build {VENV} {VENV}", f"COPY --from=build {workdir} {workdir}"]
    draft.reasons.append(f"all of {workdir} is copied, since it runs from its sources")
    draft.says = f"The packages go to a virtual environment; {draft.base} gets that and the sources, not the compiler."
    return draft


# ---- the runtime stage


def _assemble(shipped: Shipped, draft: _Draft, last: Instruction, workdir: str) -> Split:
    site, stage = shipped.site, shipped.stage
    eol = site.dockerfile.eol
    name = _free_name(shipped)
    lines = [*draft.before, "", f"FROM {draft.base}"]
    packages, tool, lost = _runtime_packages(shipped)
    facts = images.lookup(draft.base)
    lines += _restated(shipped, last, workdir)
    lines += draft.env
    if packages:
        if facts is not None and not facts.shell:
            raise CannotSplitError(f"{', '.join(packages)} must be installed, which {draft.base} cannot do")
        lines += _install(tool, packages, site.dockerfile.escape)
        draft.reasons.append(f"the runtime stage installs {', '.join(packages)} again")
    if lost:
        draft.reasons.append(f"not installed again: {', '.join(lost)}, whose library may be needed at run time")
    lines += _users(shipped)
    lines += _other_copies(shipped, draft, workdir)
    lines += [copy.replace("--from=build", f"--from={name}") for copy in draft.copies]
    lines += _late(shipped, last)
    text = "\n".join(["", *lines]).encode("utf-8", "surrogateescape").replace(b"\r\n", b"\n").replace(b"\n", eol)
    made = Split(list(draft.edits), list(dict.fromkeys(draft.reasons)), draft.says)
    if stage.name is None:
        end = stage.head.span.end
        made.edits.append(Edit(site.path, Span(end, end), f" AS {name}".encode()))
    made.edits.append(Edit(site.path, Span(last.span.end, last.span.end), text))
    made.edits += _exec_form(shipped, facts, last)
    if facts is not None and facts.user not in (None, "0"):
        made.reasons.append(
            f"{draft.base} runs as uid {facts.user}, not as root: what it writes to must be writable for it"
        )
    return made


def _free_name(shipped: Shipped) -> str:
    if shipped.stage.name is not None:
        return shipped.stage.name
    taken = {stage.name for stage in shipped.site.dockerfile.stages}
    return next(name for name in ("build", "builder", "compile", "build-stage", "coach-build") if name not in taken)


def _restated(shipped: Shipped, last: Instruction, workdir: str) -> list[str]:
    """ENV, WORKDIR and what they need, as the build stage has them above the last piece of work."""
    site, stage = shipped.site, shipped.stage
    above = [found for found in stage.body if found.span.start < last.span.start]
    kept = [
        found for found in above if found.name == "ENV" and not all(_BUILD_ENV.fullmatch(key) for key, _ in found.pairs)
    ]
    used = " ".join(found.value for found in stage.body if found in kept or found.span.start > last.span.start)
    lines = [_text(shipped, found) for found in above if found in kept or _names_one(found, used)]
    own = site.graph.state(stage.body[0]).workdir if stage.body else None
    if any(found.name == "WORKDIR" for found in above) or (own not in (None, "/", "") and own == workdir):
        lines.append(f"WORKDIR {_workdir_above(shipped, last)}")
    return lines


def _names_one(found: Instruction, used: str) -> bool:
    """Whether an ARG declares a name that ``used`` refers to."""
    return found.name == "ARG" and any(re.search(rf"\$\{{?{re.escape(key)}\b", used) for key, _ in found.pairs)


def _workdir_above(shipped: Shipped, last: Instruction) -> str:
    return shipped.site.graph.state(last).workdir or "/"


def _text(shipped: Shipped, found: Instruction) -> str:
    return shipped.site.dockerfile.text(found.line, found.end_line)


def _late(shipped: Shipped, last: Instruction) -> list[str]:
    """What describes the container and stands above the last piece of work, so that it would be lost."""
    return [
        _text(shipped, found)
        for found in shipped.stage.body
        if found.name in _RESTATED and found.span.start < last.span.start
    ]


def _users(shipped: Shipped) -> list[str]:
    """RUNs that only make users, which the runtime stage needs as well."""
    lines = []
    for run in shipped.runs:
        names = {command.name for command in run.script.commands}
        if not names & _USER_TOOLS:
            continue
        if names - _USER_TOOLS - {"mkdir", "chown", "chmod", "set", "true"}:
            raise CannotSplitError(f"line {run.line} makes a user and does something else as well")
        lines.append(_text(shipped, run.instruction))
    return lines


def _other_copies(shipped: Shipped, draft: _Draft, workdir: str) -> list[str]:
    """COPY and ADD that put files outside the working directory, where nothing else would bring them."""
    site, stage = shipped.site, shipped.stage
    taken = [copy.split()[2].rstrip("/") for copy in draft.copies]
    lines = []
    for found in stage.body:
        if found.name not in ("COPY", "ADD") or not found.words:
            continue
        state = site.graph.state(found)
        target = state.expand(found.words[-1]).text
        if target is None:
            raise CannotSplitError(f"where line {found.line} copies to cannot be told")
        place = posixpath.normpath(posixpath.join(state.workdir or "/", target))
        if _below(place, workdir) or any(_below(place, path) for path in taken) or _is_source(shipped, place):
            continue
        if found.flag("from") is not None and isinstance(site.graph.source(found, stage), str):
            continue  # a tool out of another image
        lines.append(_text(shipped, found))
    return lines


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _is_source(shipped: Shipped, place: str) -> bool:
    """Whether a build of this stage works in ``place``."""
    folders = {build.run.state.workdir for build in shipped.builds} | {
        command.cwd for run in shipped.runs for command in run.script.commands
    }
    return any(
        folder is not None and folder != "/" and (_below(place, folder) or _below(folder, place)) for folder in folders
    )


def _runtime_packages(shipped: Shipped) -> tuple[list[str], str, list[str]]:
    """System packages that running may need, their tool, and headers whose library is not known."""
    wanted: list[str] = []
    lost: list[str] = []
    tool = "apt-get"
    for run in shipped.runs:
        for install in os_packages(run):
            tool = install.tool
            for name in install.names:
                if name in _FOR_GYP and any(is_compiler(other) for other in install.names):
                    continue  # node-gyp's needs, not the program's
                if is_compiler(name) or is_fetcher(name) or name in ("ca-certificates", "curl", "wget", "gnupg"):
                    if (name in ("curl", "wget") and _called(shipped, name)) or name == "ca-certificates":
                        wanted.append(name)
                elif is_header(name):
                    library = runtime_library(name, install.tool)
                    if library is not None:
                        wanted.append(library)
                    elif name not in ("musl-dev", "libc6-dev", "python3-dev", "linux-headers", "pkg-config", "pkgconf"):
                        lost.append(name)
                else:
                    wanted.append(name)
    real = [name for name in dict.fromkeys(wanted) if name != "ca-certificates"]
    if real and "ca-certificates" in wanted:
        real.append("ca-certificates")
    return real, tool, list(dict.fromkeys(lost))


def _called(shipped: Shipped, name: str) -> bool:
    kinds = ("HEALTHCHECK", "CMD", "ENTRYPOINT")
    texts = " ".join(found.value for kind in kinds for found in shipped.instructions(kind))
    return re.search(rf"\b{name}\b", texts) is not None


def _install(tool: str, packages: Sequence[str], escape: str) -> list[str]:
    names = " ".join(packages)
    if tool == "apk":
        return [f"RUN apk add --no-cache {names}"]
    if tool in ("apt-get", "apt", "aptitude"):
        return [
            f"RUN apt-get update {escape}",
            f" && apt-get install -y --no-install-recommends {names} {escape}",
            " && rm -rf /var/lib/apt/lists/*",
        ]
    return [f"RUN {tool} install -y {names}"]


def _refuse_downloads(shipped: Shipped) -> None:
    for run in shipped.runs:
        for command in run.script.commands:
            if command.name in _DOWNLOADERS:
                raise CannotSplitError(f"line {run.line} downloads something that the runtime stage may need")


def _exec_form(shipped: Shipped, facts: ImageFacts | None, last: Instruction) -> list[Edit]:
    """Shell-form commands written as words, where the runtime stage has no shell."""
    if facts is None or facts.shell:
        return []
    made = []
    for found in (shipped.start.entrypoint, shipped.start.command):
        if found is None or found.json or found.span.start < last.span.start:
            continue
        words = _plain_words(found.value)
        if words is None:
            raise CannotSplitError("the command needs a shell, which the runtime image does not have")
        start, end = found.offset(0), found.offset(len(found.value) - 1) + 1
        made.append(Edit(shipped.site.path, Span(start, end), json.dumps(words).encode()))
    return made


def _relative(shipped: Shipped) -> set[str]:
    context = shipped.site.context
    lead = f"{context}/" if context else ""
    return {path[len(lead) :] for path in shipped.site.context_files()}


def _json(shipped: Shipped, place: str) -> dict[str, object]:
    path = shipped.site.layers.view(shipped.stage).get(place)
    if path is None:
        raise CannotSplitError("package.json is not among the files that are copied")
    try:
        data = json.loads(shipped.site.read(path))
    except (InputError, ValueError, RecursionError):
        raise CannotSplitError("package.json cannot be read") from None
    if not isinstance(data, dict):
        raise CannotSplitError("package.json cannot be read")
    return data


def _embeds(shipped: Shipped) -> set[str]:
    """Directories that Go compiles into the program."""
    found: set[str] = set()
    budget = 4 * 1024 * 1024
    for path in shipped.site.context_files():
        if not path.endswith(".go"):
            continue
        try:
            content = shipped.site.read(path)
        except InputError:
            continue
        budget -= len(content)
        if budget < 0:
            break
        for line in re.findall(rb"^//go:embed (.+)$", content, re.M):
            found |= {word.split("/", 1)[0] for word in line.decode("utf-8", "replace").replace("all:", "").split()}
    return found


def sketch(shipped: Shipped) -> str:
    """The two stages to write by hand, with this file's own names."""
    stage, base = shipped.stage, shipped.base
    runtime = base.runtime[0] if base is not None and base.runtime else shipped.base_named
    if base is not None and base.role is Role.OS:
        runtime = shipped.base_named
    work = [found for found in stage.body if found.name in _WORK]
    until = work[-1].end_line if work else stage.head.end_line
    workdir = shipped.site.graph.state_at_end(stage).workdir or "/app"
    said = [found for found in (shipped.start.entrypoint, shipped.start.command) if found is not None]
    tail = "\n".join(_text(shipped, found) for found in said)
    root = shipped.lineage[0]
    return (
        f"Keep lines {root.head.line} to {until} as a stage named `build`. A second stage takes only what runs:\n\n"
        f"```dockerfile\nFROM {runtime}\nWORKDIR {workdir}\n"
        f"COPY --from={stage.name or 'build'} <what the command needs> ./\n{tail}\n```"
    )
