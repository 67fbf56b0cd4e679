"""What a container of an interpreted program starts: the scripts behind its command, and the program behind its
package manager where that stays behind.
"""

from __future__ import annotations

import json
import posixpath
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from coach.dockerfile import Instruction
from coach.errors import InputError
from coach.model import Edit, Span
from coach.shell import parse
from coach.shipped import Shipped, is_build
from coach.split.draft import CannotSplitError, Draft, below

_INITS = frozenset({"tini", "dumb-init", "catatonit"})
_SHELLS = frozenset({"sh", "bash", "ash", "dash"})
_RUNNERS = frozenset({"poetry", "pipenv", "pdm", "uv"})
_STAY_BEHIND = _RUNNERS | {"hatch", "rye", "conda", "mamba", "micromamba", "uvx", "pipx"}
# Flags of `uv run` that only say how far it brings the environment up to date, which the build has done.
_UV_FLAGS = frozenset({"--frozen", "--locked", "--no-sync", "--no-dev", "--offline", "-q", "--quiet", "--no-progress"})
_PARTIAL = frozenset({"--no-root", "--no-install-project", "--no-install-workspace", "--no-self", "--only-root"})
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"')
_PASSES = re.compile(r"\$(?:@|\*|\{[@*]\})")
_STRING = re.compile(r"[\"']([\w.+-]{1,40})[\"']")
_DEEPEST = 4
_MOST_SCRIPT = 256 * 1024


@dataclass(frozen=True)
class _Word:
    """A word of a command; where it stands in the value of ``said``, a string of an exec form with its quotes."""

    text: str | None
    said: Instruction
    start: int
    end: int
    quoted: bool


_Call = tuple[_Word, ...]


def settle(shipped: Shipped, draft: Draft, venv: str, workdir: str, *, moved: bool) -> None:
    """Let the runtime stage start what the container starts. Raises ``CannotSplitError``.

    A command that goes through the package manager of the project names its program instead. ``moved`` says that the
    packages used to be in the system's own folders, and are in ``venv`` now.
    """
    calls = _calls(shipped)
    if not calls:
        raise CannotSplitError("neither CMD nor ENTRYPOINT says what runs")
    if shipped.start.script.broken:
        raise CannotSplitError("the container's command cannot be read")
    scripted = any(_PASSES.search(text) for text in scripts(shipped).values())
    for call in calls:
        _judge(shipped, draft, call, venv, workdir, moved=moved, scripted=scripted)
    for place, text in scripts(shipped).items():
        if not _is_python(place, text):
            _judge_script(shipped, place, text, moved=moved)
    for found in shipped.instructions("HEALTHCHECK"):
        _refuse_runner(found.value.split(), "HEALTHCHECK")


def keep_scripts(shipped: Shipped, draft: Draft) -> None:
    """Take the scripts that a RUN has changed (their mode, their line ends) out of the build, as it left them."""
    for place in scripts(shipped):
        if any(below(place, take.target.rstrip("/")) for take in draft.takes):
            continue
        name = posixpath.basename(place)
        if any(name in run.script.source for run in shipped.runs):
            draft.take(place)


@lru_cache(maxsize=1)
def scripts(shipped: Shipped) -> Mapping[str, str]:
    """Container path → text of the repository's files that the container's command starts, and that these start."""
    found: dict[str, str] = {}
    view = shipped.site.layers.view(shipped.stage)
    workdir = shipped.site.graph.state_at_end(shipped.stage).workdir or "/"
    ahead = [(word, workdir) for call in _calls(shipped) for word in _started([item.text for item in call])]
    for _ in range(_DEEPEST):
        places = {posixpath.normpath(posixpath.join(cwd, word)) for word, cwd in ahead} - found.keys()
        ahead = []
        for place in sorted(places & view.keys()):
            found[place] = text = _text(shipped, view[place])
            if _is_python(place, text):
                continue
            for command in parse(text, cwd=workdir).commands:
                ahead += [(word, command.cwd or workdir) for word in _started(list(command.words))]
    return found


@lru_cache(maxsize=1)
def called(shipped: Shipped) -> frozenset[str]:
    """Names of the commands that these scripts call; in Python's, every word that is a string of its own."""
    names: set[str] = set()
    for place, text in scripts(shipped).items():
        if _is_python(place, text):
            names.update(_STRING.findall(text))
        else:
            names.update(posixpath.basename(word) for found in parse(text).commands for word in found.words[:1] if word)
    return frozenset(names)


def _started(words: Sequence[str | None]) -> list[str]:
    """The words of a command that may be the file it starts: its first, and the script that a shell is given."""
    first = words[0] if words else None
    if first is None:
        return []
    if posixpath.basename(first) in (*_SHELLS, ".", "source") and len(words) > 1:
        return [word for word in words[1:2] if word is not None and not word.startswith("-")]
    return [first]


def _calls(shipped: Shipped) -> list[_Call]:
    """The commands that ENTRYPOINT and CMD say, an init in front of them left out."""
    start = shipped.start
    words: list[_Word] = []
    calls: list[_Call] = []
    for said in (start.entrypoint, start.command):
        if said is None:
            continue
        if said.json:
            tokens = [(found.start(), found.end()) for found in _TOKEN.finditer(said.value)]
            words += [
                _Word(text, said, at, end, quoted=True) for text, (at, end) in zip(said.words, tokens, strict=False)
            ]
            continue
        calls += _of_text(shipped, said, said.value, 0)
        if said is start.entrypoint:
            break  # a shell-form ENTRYPOINT ignores CMD
    while words and posixpath.basename(words[0].text or "") in _INITS:
        del words[0]
        while words and (words[0].text or "").startswith("-"):
            del words[0]
    flag = words[1].text or "" if len(words) > 2 else ""
    if words and posixpath.basename(words[0].text or "") in _SHELLS and re.fullmatch(r"-[a-z]*c", flag):
        last = words[2]
        plain = json.dumps(last.text) == last.said.value[last.start : last.end]
        return [*_of_text(shipped, last.said, last.text or "", last.start + 1 if plain else None), *calls]
    return [tuple(words), *calls] if words else calls


def _of_text(shipped: Shipped, said: Instruction, text: str, at: int | None) -> list[_Call]:
    """The commands of shell text that stands ``at`` a character of ``said``, or cannot be edited where it stands."""
    state = shipped.site.graph.state(said)
    found = []
    for command in parse(text, dict(state.env), state.workdir).commands:
        if command.name is None and not command.words:
            continue
        exact = at is not None and command.exact
        found.append(
            tuple(
                _Word(
                    text,
                    said,
                    (at or 0) + word.start if exact else -1,
                    (at or 0) + word.end if exact else -1,
                    quoted=False,
                )
                for text, word in zip(command.words, command.peeled, strict=True)
            )
        )
    return found


def _judge(
    shipped: Shipped, draft: Draft, call: _Call, venv: str, workdir: str, *, moved: bool, scripted: bool
) -> None:
    texts = [word.text for word in call]
    first = texts[0]
    if first is None:
        raise CannotSplitError("the container's command is a variable")
    name = posixpath.basename(first)
    place = posixpath.normpath(posixpath.join(workdir, first))
    if name in _RUNNERS:
        _hand_over(shipped, draft, call, venv, workdir)
        return
    _refuse_runner([name], "the command")
    _refuse_system_path(first, moved=moved)
    if place in scripts(shipped):
        # what follows the script is what it is told to start
        if scripted and len(call) > 1 and not (texts[1] or "-").startswith("-"):
            _judge(shipped, draft, call[1:], venv, workdir, moved=moved, scripted=False)
    elif is_build(texts):
        raise CannotSplitError(f"`{name}` compiles when the container starts")


def _judge_script(shipped: Shipped, place: str, text: str, *, moved: bool) -> None:
    script = parse(text, cwd=shipped.site.graph.state_at_end(shipped.stage).workdir)
    what = f"the script {posixpath.basename(place)}"
    if script.broken:
        raise CannotSplitError(f"{what} cannot be read")
    for command in script.commands:
        texts = list(command.words)
        _refuse_runner(texts[:1], what)
        if texts and texts[0] is not None:
            _refuse_system_path(texts[0], moved=moved)
            if is_build(texts):
                raise CannotSplitError(f"{what} compiles when the container starts")


def _refuse_runner(words: Sequence[str | None], what: str) -> None:
    for word in words:
        name = posixpath.basename(word or "")
        if name in _STAY_BEHIND:
            raise CannotSplitError(
                f"{what} starts {name}, which the runtime stage would lack: start the program itself"
            )


def _refuse_system_path(word: str, *, moved: bool) -> None:
    if moved and word.startswith("/usr/local/bin/"):
        raise CannotSplitError(f"the command names {word}, and packages get an environment of their own: drop the path")


# ---- the program behind a package manager


def _hand_over(shipped: Shipped, draft: Draft, call: _Call, venv: str, workdir: str) -> None:
    """Name the program that ``poetry run`` and its like start, with the environment on the PATH."""
    texts = [word.text for word in call]
    name = posixpath.basename(texts[0] or "")
    at, lead = _program(name, texts)
    program = texts[at] or ""
    _refuse_own_scripts(shipped, name, program, workdir)
    _write(shipped, draft, call, at, lead)
    if not _on_path(shipped, venv) and f'ENV PATH="{venv}/bin:$PATH"' not in draft.env:
        draft.env.append(f'ENV PATH="{venv}/bin:$PATH"')
    also = ", which also brought the environment up to date" if name == "uv" and "--no-sync" not in texts else ""
    draft.reasons.append(f"the container starts {(lead or [program])[0]} itself, no longer through `{name} run`{also}")


def _program(name: str, texts: Sequence[str | None]) -> tuple[int, list[str]]:
    """How many words stand before the program, and what has to stand there instead."""
    unclear = CannotSplitError(f"what the command starts through {name} cannot be told: start the program itself")
    if texts[1:2] != ["run"] or None in texts[:3]:
        raise unclear
    at = 2
    if name == "uv":
        while at < len(texts) and texts[at] in _UV_FLAGS:
            at += 1
        if texts[at : at + 1] == ["--"]:
            at += 1
    word = texts[at] if at < len(texts) else None
    if word is None:
        raise unclear
    if name == "uv" and (word == "-m" or word.endswith(".py")):
        return at, ["python"]
    if word.startswith("-") or word.endswith(".py") or (name == "uv" and "://" in word):
        raise unclear
    return at, []


def _refuse_own_scripts(shipped: Shipped, name: str, program: str, workdir: str) -> None:
    """Raise where ``program`` is not a file of the environment, or starts otherwise than that would."""
    pyproject = _toml(shipped, posixpath.join(workdir, "pyproject.toml"))
    steps = [step for _, step in shipped.installs if step.manager == name]
    whole = any(not _PARTIAL & {word or "" for word in step.command.words} for step in steps)
    if name == "pipenv":
        own: set[str] = set(_table(_toml(shipped, posixpath.join(workdir, "Pipfile")), "scripts"))
        if posixpath.join(workdir, ".env") in shipped.site.layers.view(shipped.stage):
            raise CannotSplitError("`pipenv run` reads the .env file that is copied; nothing else would")
    elif name == "pdm":
        own = set(_table(pyproject, "tool", "pdm", "scripts"))
    elif name == "poetry":
        declared = {*_table(pyproject, "tool", "poetry", "scripts"), *_table(pyproject, "project", "scripts")}
        own = set() if whole else declared
    else:
        own = set()
        stated = _table(pyproject, "tool", "uv").get("package")
        packaged = stated if isinstance(stated, bool) else "build-system" in pyproject
        if packaged and not whole:
            raise CannotSplitError("`uv run` installs the project when the container starts: let the build do it")
        if shipped.site.graph.state_at_end(shipped.stage).names().get("UV_ENV_FILE"):
            raise CannotSplitError("`uv run` reads UV_ENV_FILE; nothing else would")
    if program in own or "_" in own:
        raise CannotSplitError(f"what `{name} run {program}` starts is a script of the project's own")


def _write(shipped: Shipped, draft: Draft, call: _Call, at: int, lead: Sequence[str]) -> None:
    """Put ``lead`` in the place of the first ``at`` words."""
    first, next_word = call[0], call[at]
    said = first.said
    if said.span.start < draft.last.span.start or next_word.said.span.start < draft.last.span.start:
        raise CannotSplitError(f"line {said.line} says what runs above the last step of the build")
    if any(word.start < 0 for word in call[: at + 1]):
        raise CannotSplitError(f"the command of line {said.line} cannot be rewritten")
    if next_word.said is not said:
        if lead or call[at - 1].said is not said or any(word.said is said for word in call[at:]):
            raise CannotSplitError(f"the command of line {said.line} cannot be rewritten")
        # ENTRYPOINT is nothing but the package manager: without it CMD is the program
        draft.edits.append(Edit(shipped.site.path, shipped.site.dockerfile.line_span(said.line, said.end_line), b""))
        return
    text = "".join(f"{json.dumps(word)}, " if first.quoted else f"{word} " for word in lead)
    start, end = said.offset(first.start), said.offset(next_word.start)
    draft.edits.append(Edit(shipped.site.path, Span(start, end), text.encode()))


def _on_path(shipped: Shipped, venv: str) -> bool:
    return any(
        key == "PATH" and (value or "").strip("\"'").startswith(f"{venv}/bin:")
        for found in shipped.instructions("ENV")
        for key, value in found.pairs
    )


# ---- files


def _is_python(place: str, text: str) -> bool:
    first = text.split("\n", 1)[0]
    return place.endswith(".py") or (first.startswith("#!") and "python" in first)


def _text(shipped: Shipped, path: str) -> str:
    """Text of a file of the repository, "" where it is none."""
    try:
        content = shipped.site.read(path)
    except InputError:
        return ""
    if len(content) > _MOST_SCRIPT or b"\0" in content:
        return ""
    return content.decode("utf-8", "replace").replace("\r\n", "\n")


def _toml(shipped: Shipped, place: str) -> Mapping[str, object]:
    path = shipped.site.layers.view(shipped.stage).get(place)
    if path is None:
        return {}
    try:
        return tomllib.loads(shipped.site.read(path).decode("utf-8", "replace"))
    except (InputError, tomllib.TOMLDecodeError, RecursionError):
        raise CannotSplitError(f"{posixpath.basename(place)} cannot be read") from None


def _table(data: Mapping[str, object], *names: str) -> Mapping[str, object]:
    for name in names:
        inner = data.get(name)
        if not isinstance(inner, dict):
            return {}
        data = inner
    return data
