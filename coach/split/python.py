"""Python: an environment that the build fills and the runtime stage gets whole, at the same path."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from coach import manifests
from coach.errors import InputError
from coach.knowledge import native
from coach.linkage import locked
from coach.model import Edit, Span
from coach.order import place as place_of
from coach.shipped import PACKAGE_TOOLS, Shipped, dev_installs
from coach.site import Run
from coach.split.draft import (
    WORK,
    CannotSplitError,
    Draft,
    below,
    build_name,
    last_work,
    owner_of,
    refuse_downloads,
    smaller_base,
)
from coach.split.environment import VENV, environment
from coach.split.runtime import runtime_packages
from coach.split.starts import keep_scripts, settle
from coach.steps import PackageStep

_WITHOUT_DEV = {"uv": ("sync", " --no-dev"), "poetry": ("install", " --only main"), "pdm": ("install", " --prod")}
_STATIC_ROOT = re.compile(rb"""^STATIC_ROOT\s*=\s*(?:[\w.]*Path\()?["'](/[\w./-]+)["']""", re.MULTILINE)
_LEAST = re.compile(r"^requires-python\s*=\s*[\"']\s*(?:>=|~=|==|>)\s*3\.(\d+)", re.MULTILINE)
# https://www.nltk.org/data.html, https://playwright.dev/python/docs/browsers,
# https://huggingface.co/docs/huggingface_hub/guides/manage-cache
_TO_HOME = re.compile(
    r"\bnltk\b.*\bdownload|\bplaywright install\b|\b(?:huggingface-cli|hf) download\b|\bfrom_pretrained\b|"
    r"\bsnapshot_download\b|\bload_model\b|\bSentenceTransformer\b"
)
# https://python-poetry.org/docs/#installation, https://docs.astral.sh/uv/getting-started/installation/,
# https://pdm-project.org/latest/#installation
_INSTALLERS = ("install.python-poetry.org", "astral.sh/uv", "pdm-project.org/install", "bootstrap.pypa.io/get-pip")
_OF_DJANGO = frozenset({"collectstatic", "compilemessages", "compileall"})
_LEAVES_NOTHING = frozenset(
    {
        "mkdir",
        "chmod",
        "chown",
        "rm",
        "sed",
        "dos2unix",
        "useradd",
        "groupadd",
        "adduser",
        "addgroup",
        "usermod",
        "echo",
    }
    | {
        "set",
        "cd",
        "export",
        "true",
        "printf",
        "find",
        "test",
        "[",
        "ln",
        "touch",
        "virtualenv",
        "ldconfig",
        "cp",
        "mv",
    }
)
_MOST_LOCK = 4 * 1024 * 1024
_LOCKS = ("requirements.txt", "uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock")


def python(shipped: Shipped, workdir: str) -> Draft:
    """An environment of packages, on an image with the same interpreter and no compiler."""
    base = shipped.base
    assert base is not None
    if base.family != "python" or workdir == "/":
        raise CannotSplitError(f"{shipped.base_named} is not an image of Python with a working directory of its own")
    refuse_downloads(shipped, _INSTALLERS)
    installs = [(run, step) for run, step in shipped.installs if step.ecosystem == "python"]
    if not installs:
        raise CannotSplitError("nothing is installed that a runtime stage could take over")
    if any(run.state.user not in ("root", "0") for run, _ in installs):
        raise CannotSplitError("the packages are installed by a user who may not write outside of a home directory")
    _same_interpreter(shipped, workdir)
    build = build_name(shipped)
    draft = Draft(smaller_base(shipped), last_work(shipped.stage), build, build)
    venv = environment(shipped, installs, draft, workdir)
    _without_dev(shipped, draft)
    _from(shipped, draft, installs, venv, workdir)
    settle(shipped, draft, venv, workdir, moved=venv == VENV and bool(draft.env))
    keep_scripts(shipped, draft)
    _collected(shipped, draft)
    compiled = _compiled(shipped)
    libraries = list(dict.fromkeys(library for package in compiled for library in package.run))
    if base.packages == "apt":
        draft.packages += [name for name in libraries if name not in runtime_packages(shipped)[0]]
    unsure = [package.name for package in compiled if not package.run or base.packages != "apt"]
    if unsure:
        named = ", ".join(unsure[:3])
        draft.reasons.append(f"{named}: compiled here, so {draft.base} must hold the libraries that it links against")
    _elsewhere(shipped, draft, workdir)
    draft.reasons.append(f"the runtime stage has {venv} and no compiler: nothing can be built when the program runs")
    draft.says = f"{draft.base} gets the environment that was built, and the sources; the compiler stays behind."
    return draft


def _from(shipped: Shipped, draft: Draft, installs: Sequence[tuple[Run, PackageStep]], venv: str, workdir: str) -> None:
    """What is copied: the environment alone where the source can be copied to the runtime stage itself."""
    final = max((run.instruction for run, _ in installs), key=lambda found: found.span.start)
    after = [found for found in shipped.stage.body if found.name in WORK and found.span.start > final.span.start]
    plain = all(found.name in ("COPY", "ADD") and found.flag("from") is None for found in after)
    if plain and not any(_reads_source(shipped, run, step) for run, step in installs):
        draft.last = final
        draft.all_files = True
        draft.take(venv)
        return
    if not (venv + "/").startswith(workdir.rstrip("/") + "/"):
        draft.take(venv)
    draft.take(workdir, owner=owner_of(shipped, workdir, shipped.runs[-1], copied=True))
    draft.reasons.append(f"all of {workdir} is copied, since it runs from its sources")


def _reads_source(shipped: Shipped, run: Run, step: PackageStep) -> bool:
    """Whether the install takes in the project itself or another local one, beside what it depends on."""
    directory, words = place_of(shipped.site, run, step)
    found = manifests.closure(shipped.site.tree, step.manager, words, directory or "", shipped.site.context)
    return found is None or bool(found.reads_source or found.directories)


def _collected(shipped: Shipped, draft: Draft) -> None:
    """Where `collectstatic` puts its files, if that is a folder that nothing else takes."""
    if not any("collectstatic" in command.words for run in shipped.runs for command in run.script.commands):
        return
    for path in shipped.site.context_files():
        if not path.endswith(".py") or "settings" not in path:
            continue
        found = _STATIC_ROOT.search(shipped.site.read(path))
        root = found[1].decode("utf-8", "replace") if found else ""
        if root and not any(below(root, take.target) for take in draft.takes):
            draft.take(posixpath.normpath(root))
            return


def _elsewhere(shipped: Shipped, draft: Draft, workdir: str) -> None:
    """Tell which commands may leave something that is not copied."""
    stepped = {id(step.command) for run in shipped.runs for step in run.steps}
    for run in shipped.runs:
        for command in run.script.commands:
            own = command.name is None or id(command) in stepped or command.name in _LEAVES_NOTHING
            if own or _OF_DJANGO & {*command.words} or command.name in PACKAGE_TOOLS:
                continue
            if command.words[1:2] == ("config",) or command.words[1:3] == ("-m", "venv"):
                continue
            said = " ".join(word or "…" for word in command.words[:4])
            if _TO_HOME.search(" ".join(word or "" for word in command.words)):
                raise CannotSplitError(f"line {run.line}: `{said}` downloads to the home directory, which stays behind")
            draft.reasons.append(f"line {run.line}: what `{said}` writes outside of {workdir} is not copied")
            break


def _same_interpreter(shipped: Shipped, workdir: str) -> None:
    """uv fetches another Python where it is asked for one that the image has not; that would stay behind."""
    assert shipped.base is not None
    if not any(step.manager == "uv" for _, step in shipped.installs):
        return
    has = re.match(r"(\d+\.\d+)", shipped.base.reference.tag)
    for run in shipped.runs:
        if any(command.words[:3] == ("uv", "python", "install") for command in run.script.commands):
            raise CannotSplitError(f"line {run.line} installs a Python that is not that of the image")
        asked = re.match(r"(?:cpython-?|python)?(\d+\.\d+)", run.state.names().get("UV_PYTHON") or "")
        if asked is not None and (has is None or asked[1] != has[1]):
            raise CannotSplitError(f"UV_PYTHON asks for Python {asked[1]}, which is not that of the image")
    pinned = re.match(r"\s*(\d+\.\d+)", _read(shipped, posixpath.join(workdir, ".python-version")))
    if pinned is not None and (has is None or pinned[1] != has[1]):
        raise CannotSplitError(f".python-version asks for Python {pinned[1]}, which is not that of the image")
    least = _LEAST.search(_read(shipped, posixpath.join(workdir, "pyproject.toml")))
    if least is not None and has is not None and int(least[1]) > int(has[1].partition(".")[2]):
        raise CannotSplitError(f"the project asks for Python 3.{least[1]}, which is not that of the image")


def _read(shipped: Shipped, place: str) -> str:
    path = shipped.site.layers.view(shipped.stage).get(place)
    try:
        return shipped.site.read(path).decode("utf-8", "replace") if path is not None else ""
    except InputError:
        return ""


def _without_dev(shipped: Shipped, draft: Draft) -> None:
    """Leave development dependencies out of what is installed: nothing is compiled by them."""
    for dev in dev_installs(shipped):
        if dev.through is not None:
            continue
        step, run = dev.step, dev.run
        if step.manager == "pipenv" and _drop_flag(shipped, draft, run, step, ("--dev", "-d")):
            continue
        verb, flag = _WITHOUT_DEV.get(step.manager, ("", ""))
        word = next((word for word in step.command.peeled if word.text == verb), None)
        if not verb or word is None or step.via or not step.command.exact:
            raise CannotSplitError(f"line {run.line} installs development dependencies, and how to leave them out")
        at = run.offset(word.end - 1) + 1
        draft.edits.append(Edit(shipped.site.path, Span(at, at), flag.encode()))
        draft.reasons.append(
            f"`{flag.strip()}`: the program, and tests that run in this image, lose what it leaves out"
        )


def _drop_flag(shipped: Shipped, draft: Draft, run: Run, step: PackageStep, names: Sequence[str]) -> bool:
    """Take out the flag that asks for development dependencies, where it can be."""
    words = step.command.peeled
    at = next((at for at, word in enumerate(words) if word.text in names), 0)
    if not at or step.via or not step.command.exact:
        return False
    start, end = run.offset(words[at - 1].end - 1) + 1, run.offset(words[at].end - 1) + 1
    draft.edits.append(Edit(shipped.site.path, Span(start, end), b""))
    draft.reasons.append(
        f"without `{words[at].raw}`: the program, and tests that run in this image, lose what it brings"
    )
    return True


def _compiled(shipped: Shipped) -> list[native.Compiled]:
    """Dependencies that are compiled when they are installed."""
    known = native.compiled("python")
    found: set[str] = set()
    for path in shipped.site.context_files():
        name = posixpath.basename(path)
        if name not in _LOCKS:
            beside = posixpath.basename(posixpath.dirname(path)) == "requirements" and name.endswith(".txt")
            if not beside and not re.fullmatch(r"[\w.-]*requirements[\w.-]*\.txt", name):
                continue
            name = "requirements.txt"
        try:
            content = shipped.site.read(path)
        except InputError:
            continue
        if len(content) <= _MOST_LOCK:
            found |= locked(name, content.decode("utf-8", "replace")) & set(known)
    return [known[name] for name in sorted(found)]
