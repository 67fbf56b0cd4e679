"""Image commands in shell text, followed into the Makefiles, scripts and package scripts that the text calls."""

from __future__ import annotations

import json
import posixpath
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from coach import shell
from coach.ci import docker_cli, paths
from coach.ci.docker_cli import Arg, Invocation
from coach.ci.nouns import MAX_SCRIPT, WORKSPACE, Value, differs_per_commit, static
from coach.errors import InputError
from coach.model import Tree, is_file
from coach.redact import credential_name

MAX_DEPTH = 4
MAX_CALLS = 400

INTERESTING = re.compile(
    r"docker|buildx|podman|buildah|nerdctl|kaniko|depot|cosign|notation|gcloud|\baz\b|\bimg\b|finch|qemu|binfmt|bake",
    re.I,
)
FOLLOWED = re.compile(
    r"\bg?make\b|\.sh\b|\.bash\b|\b(npm|yarn|pnpm|bun)\b|\bjust\b|\btask\b|\./|\b(ba)?sh\s|\bbin/|\bscripts?/|\bhack/|\bci/"
)
_HOLE = re.compile(r"__HOLE(\d+)__")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)")


@dataclass(slots=True)
class Filled:
    """Text with its template expressions replaced, and where each character came from."""

    text: str
    holes: tuple[Value, ...] = ()
    _new: list[int] = field(default_factory=list)
    _old: list[int] = field(default_factory=list)

    def origin(self, index: int) -> int:
        """Index in the text as it was written."""
        if not self._new:
            return index
        at = bisect_right(self._new, index) - 1
        if at < 0:
            return index
        limit = self._old[at + 1] if at + 1 < len(self._old) else None
        found = self._old[at] + index - self._new[at]
        return found if limit is None else min(found, limit)


def substitute(text: str, pattern: re.Pattern[str], value: Callable[[re.Match[str]], Value | Filled]) -> Filled:
    """``text`` with each match replaced by its value; what has none becomes a word that no command uses.

    A value may be text with open places of its own: those stay open, what stands around them is known.
    """
    pieces: list[str] = []
    holes: list[Value] = []
    new: list[int] = [0]
    old: list[int] = [0]
    at = length = 0
    for match in pattern.finditer(text):
        found = value(match)
        if isinstance(found, Filled):
            first = len(holes)
            insert = _HOLE.sub(lambda hole, first=first: f"__HOLE{first + int(hole[1])}__", found.text)  # type: ignore[misc]
            holes += found.holes
        elif found.text is not None:
            insert = found.text
        else:
            insert = f"__HOLE{len(holes)}__"
            holes.append(found)
        lead = text[at : match.start()]
        pieces += [lead, insert]
        length += len(lead)
        new.append(length)
        old.append(match.start())
        length += len(insert)
        at = match.end()
        new.append(length)
        old.append(at)
    if not pieces:
        return Filled(text)
    pieces.append(text[at:])
    return Filled("".join(pieces), tuple(holes), new, old)


@dataclass(frozen=True, slots=True)
class Call:
    """One image command. ``path`` is the file it is written in ("" for the text that was given).

    ``line``/``end_line`` and ``lines`` (a flag's ``start`` → its line) count in that file, or, for the given text, are
    0 and left to the caller, who knows where the text stands; ``at``/``till`` are then offsets in the text as
    written. ``cwd`` is a repository path. For a followed file, ``at`` is where the text calls it.
    """

    invocation: Invocation
    env: Mapping[str, Value]
    cwd: str | None
    at: int
    till: int
    guarded: bool = False
    path: str = ""
    line: int = 0
    end_line: int = 0
    lines: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Text:
    """Shell text with everything a run would know about it."""

    source: Filled
    env: Mapping[str, Value]
    cwd: str | None


def calls(tree: Tree, text: Text, follow: bool = True) -> list[Call]:
    """Image commands that ``text`` runs, in order; ``follow``: also those in the files it calls."""
    if not INTERESTING.search(text.source.text) and not FOLLOWED.search(text.source.text):
        return []
    return list(_Reader(tree).read(text, 0 if follow else MAX_DEPTH))


def script_of(text: Text) -> shell.Script:
    """``text`` parsed, for those who look for other commands than these."""
    env = tuple((name, value.text) for name, value in text.env.items())
    return _parse(text.source.text, env, _absolute(text.cwd))


@lru_cache(maxsize=256)
def _parse(text: str, env: tuple[tuple[str, str | None], ...], cwd: str | None) -> shell.Script:
    # the combinations of a matrix mostly run the same text
    return shell.parse(text, dict(env), cwd)


def word_value(word: shell.Word, holes: Sequence[Value], env: Mapping[str, Value]) -> Value:
    """What a shell word hands to its command."""
    raw = _unquoted(word.raw)
    if word.text is not None and not _HOLE.search(word.text):
        return static(word.text)
    given = raw if word.text is None else word.text
    open_values = [holes[int(number)] for number in _HOLE.findall(given) if int(number) < len(holes)]
    shown = _HOLE.sub(lambda match: holes[int(match[1])].shown if int(match[1]) < len(holes) else "", given)
    variables = [env[name] for name in _VARIABLE.findall(raw) if name in env and env[name].text is None]
    parts = [*open_values, *variables]
    options: tuple[str, ...] = ()
    if word.text is not None and len(open_values) == 1 and open_values[0].options:
        options = tuple(_HOLE.sub(lambda _, chosen=choice: chosen, given) for choice in open_values[0].options)  # type: ignore[misc]
    elif word.text is None and re.fullmatch(r"\$\{?\w+\}?", raw) and len(variables) == 1:
        options = variables[0].options
    why = next((part.why for part in parts if part.why), "") or "it is set by the shell when the job runs"
    return Value(
        None,
        shown,
        why,
        any(part.secret for part in parts) or any(credential_name(name) for name in _VARIABLE.findall(raw)),
        any(part.per_commit for part in parts) or differs_per_commit(raw),
        options,
        next((part.condition for part in parts if part.condition), ""),
    )


def _unquoted(raw: str) -> str:
    if len(raw) > 1 and raw[0] == raw[-1] and raw[0] in "\"'":
        return raw[1:-1]
    return raw


def _absolute(cwd: str | None) -> str | None:
    if cwd is None:
        return None
    return f"{WORKSPACE}/{cwd}" if cwd else WORKSPACE


class _Reader:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.count = 0
        self.seen: set[tuple[str, str]] = set()

    def read(self, text: Text, depth: int) -> Iterator[Call]:
        script = script_of(text)
        for command in script.commands:
            if self.count >= MAX_CALLS:
                return
            args = [
                Arg(word_value(word, text.source.holes, text.env), word.raw, word.start, word.end)
                for word in command.peeled
            ]
            if not args:
                continue
            env = self._env(command, text)
            cwd = paths.join("", command.cwd) if command.cwd is not None else None
            at, till = text.source.origin(command.start), text.source.origin(command.end)
            invocation = docker_cli.read(args)
            if invocation is not None:
                self.count += 1
                yield Call(invocation, env, cwd, at, till, command.guarded)
            elif depth < MAX_DEPTH:
                for call in self._follow(command, args, env, cwd, depth):
                    yield replace(call, at=at, till=till, guarded=call.guarded or command.guarded)

    def _env(self, command: shell.Command, text: Text) -> dict[str, Value]:
        env: dict[str, Value] = {}
        for name, value in command.env.items():
            known = text.env.get(name)
            if known is not None and known.text == value:
                env[name] = known
            elif value is not None:
                env[name] = static(value)
            else:
                env[name] = Value(None, f"${name}", "it is set by the shell when the job runs")
        for name, word in command.assignments:
            env[name] = word_value(word, text.source.holes, text.env)
        return env

    def _follow(
        self, command: shell.Command, args: list[Arg], env: Mapping[str, Value], cwd: str | None, depth: int
    ) -> Iterator[Call]:
        name = command.name or ""
        words = [arg.value.text for arg in args]
        if cwd is None:
            return
        if name in ("make", "gmake"):
            yield from self._make(words[1:], env, cwd, depth)
            return
        if name in ("npm", "yarn", "pnpm", "bun"):
            yield from self._package_script(words[1:], env, cwd, depth)
            return
        candidates: Sequence[str | None] = words[:1]
        if name in ("sh", "bash", "source", ".", "dash", "zsh"):
            candidates = [word for word in words[1:] if word is not None and not word.startswith("-")][:1]
        for word in candidates:
            if not word or ("/" not in word and name not in ("sh", "bash", "source", ".", "dash", "zsh")):
                continue
            path = paths.join(cwd, word)
            if path is not None and is_file(self.tree, path):
                yield from self.script(path, env, cwd, depth + 1)

    def script(self, path: str, env: Mapping[str, Value], cwd: str | None, depth: int) -> Iterator[Call]:
        """Commands of a shell script of the repository that runs in ``cwd``."""
        if (path, str(cwd)) in self.seen:
            return
        self.seen.add((path, str(cwd)))
        content = script_text(self.tree, path)
        if content is None or not (INTERESTING.search(content) or FOLLOWED.search(content)):
            return
        filled = own_folder(content, posixpath.dirname(path))
        for call in self.read(Text(filled, env, cwd), depth):
            yield _in_file(call, path, content, 1, filled)

    def _make(self, words: Sequence[str | None], env: Mapping[str, Value], cwd: str, depth: int) -> Iterator[Call]:
        directory, file, goals, variables = cwd, None, [], {}
        at = 0
        while at < len(words):
            word = words[at] or ""
            if word in ("-C", "--directory", "-f", "--file", "--makefile") and at + 1 < len(words):
                at += 1
                value = words[at]
                if value is None:
                    return
                if word in ("-C", "--directory"):
                    inside = paths.join(cwd, value)
                    if inside is None:
                        return
                    directory = inside
                else:
                    file = value
            elif word.startswith("--directory="):
                inside = paths.join(cwd, word.partition("=")[2])
                if inside is None:
                    return
                directory = inside
            elif "=" in word and not word.startswith("-"):
                name, _, value = word.partition("=")
                variables[name.rstrip(":")] = variables[f"make {name.rstrip(':')}"] = static(value)
            elif word and not word.startswith("-"):
                goals.append(word)
            at += 1
        names = [file] if file else ["GNUmakefile", "makefile", "Makefile"]
        for name in names:
            path = paths.join(directory, name)
            if path is not None and is_file(self.tree, path):
                yield from self.make_goals(path, goals, {**env, **variables}, directory, depth + 1)
                return

    def make_goals(
        self, path: str, goals: Sequence[str], env: Mapping[str, Value], cwd: str, depth: int
    ) -> Iterator[Call]:
        """Commands of the recipes that ``make goals`` runs, prerequisites first."""
        try:
            content = self.tree.read(path)
        except InputError:
            return
        if len(content) > MAX_SCRIPT:
            return
        makefile = Makefile(content.decode("utf-8", "replace"), path)
        self._include(makefile, cwd)
        todo = list(goals) or ([makefile.first] if makefile.first else [])
        done: set[str] = set()
        order: list[str] = []
        while todo and len(order) < 200:
            goal = todo.pop(0)
            if goal in done:
                continue
            done.add(goal)
            order.append(goal)
            todo = [*makefile.prerequisites.get(goal, ()), *todo]
        for goal in order:
            for line, recipe in makefile.recipes.get(goal, ()):
                filled = makefile.fill(recipe, env, goal)
                if not (INTERESTING.search(filled.text) or FOLLOWED.search(filled.text)):
                    continue
                for call in self.read(Text(filled, makefile.exported(env), cwd), depth):
                    yield _in_file(call, makefile.homes.get(goal, path), recipe, line, filled)

    def _include(self, makefile: Makefile, cwd: str) -> None:
        """Read what a Makefile includes, as far as the names are written out."""
        taken: set[str] = set()
        while len(taken) < MAX_INCLUDES:
            paths_left = [paths.join(cwd, name) for name in makefile.includes if "$" not in name]
            path = next((item for item in paths_left if item and item not in taken and is_file(self.tree, item)), None)
            if path is None:
                return
            taken.add(path)
            try:
                content = self.tree.read(path)
            except InputError:
                continue
            if len(content) <= MAX_SCRIPT:
                makefile.take(content.decode("utf-8", "replace"), path)

    def _package_script(
        self, words: Sequence[str | None], env: Mapping[str, Value], cwd: str, depth: int
    ) -> Iterator[Call]:
        plain = [word for word in words if word and not word.startswith("-")]
        if not plain:
            return
        name = plain[1] if plain[0] in ("run", "run-script") and len(plain) > 1 else plain[0]
        path = posixpath.join(cwd, "package.json")
        if not is_file(self.tree, path) or (path, name) in self.seen:
            return
        self.seen.add((path, name))
        try:
            content = self.tree.read(path)
            loaded = json.loads(content) if len(content) < MAX_SCRIPT else None
        except (InputError, ValueError, RecursionError):
            return
        scripts = loaded.get("scripts") if isinstance(loaded, dict) else None
        text = scripts.get(name) if isinstance(scripts, dict) else None
        if not isinstance(text, str):
            return
        match = re.search(rb'"%s"\s*:' % re.escape(name.encode()), content)
        line = content.count(b"\n", 0, match.start()) + 1 if match else 1
        for call in self.read(Text(Filled(text), env, cwd), depth + 1):
            yield _in_file(call, path, " ", line)


_SELF = r"""["']?\$(?:\{?BASH_SOURCE(?:\[0\])?\}?|\{?0\}?)["']?"""
_REAL = rf"""["']?\$\(\s*(?:readlink\s+-f|realpath)\s+{_SELF}\s*\)["']?"""
_DIRNAME = rf"""\$\(\s*dirname\s+(?:--\s+)?(?:{_REAL}|{_SELF})\s*\)"""
_CD = r"\$\(\s*(?:CDPATH=\s*)?cd\s+(?:-P\s+)?(?:--\s+)?"
_THEN_PRINT = r"\s*(?:&?>\s*/dev/null\s*)?(?:2>&1\s*)?(?:&&|;)\s*pwd(?:\s+-P)?\s*\)"
_FOLDER = re.compile(
    rf"""\$\(\s*git\s+rev-parse\s+--show-toplevel(?:\s+2>\s*/dev/null)?\s*\)
      | {_CD}["']?(?P<base>{_DIRNAME})["']?(?P<tail>/[\w./-]*)?["']?{_THEN_PRINT}
      | {_CD}["']?(?P<other>[\w$./{{}}-]+)["']?{_THEN_PRINT}
      | (?P<plain>{_DIRNAME})
      | \$\{{(?:0|BASH_SOURCE(?:\[0\])?)%/\*\}}""",
    re.X,
)


def own_folder(content: str, folder: str) -> Filled:
    """A script with the idioms by which it finds its own folder, or the repository's root, filled in."""
    here = f"{WORKSPACE}/{folder}" if folder else WORKSPACE

    def value(match: re.Match[str]) -> Value:
        if "show-toplevel" in match[0]:
            return static(WORKSPACE)
        if match["other"] is not None:
            return static(match["other"])
        return static(posixpath.normpath(here + (match["tail"] or "")))

    if not any(sign in content for sign in ("dirname", "show-toplevel", "%/*", "pwd")):
        return Filled(content)
    return substitute(content, _FOLDER, value)


def script_text(tree: Tree, path: str) -> str | None:
    """A file's text when it is a shell script of reasonable size."""
    try:
        content = tree.read(path)
    except InputError:
        return None
    if len(content) > MAX_SCRIPT or b"\0" in content[:4096]:
        return None
    if content.startswith(b"#!") and not re.match(rb"#!\s*\S*(/|env\s+)(ba|da|z|a|k)?sh\b", content):
        return None
    if not content.startswith(b"#!") and not path.endswith((".sh", ".bash", ".zsh")):
        return None
    return content.decode("utf-8", "replace")


def _in_file(call: Call, path: str, text: str, first: int, filled: Filled | None = None) -> Call:
    """``call`` with its lines counted in ``path``; what was followed further keeps its own file."""
    if call.path:
        return call

    def origin(index: int) -> int:
        return filled.origin(index) if filled is not None else index

    line = first + text.count("\n", 0, min(call.at, len(text)))
    end = first + text.count("\n", 0, min(max(call.at, call.till - 1), len(text)))
    lines = {
        flag.start: first + text.count("\n", 0, min(origin(flag.start), len(text))) for flag in call.invocation.parts
    }
    return replace(call, path=path, line=line, end_line=end, lines=lines)


_RULE = re.compile(r"^(?P<targets>[^\s#:=][^#:=]*?)\s*::?(?!=)\s*(?P<rest>[^=]*?)(?:;(?P<recipe>.*))?$")
_ASSIGNMENT = re.compile(
    r"^\s*(?:export\s+|override\s+)*(?P<name>[A-Za-z_][\w.-]*)\s*(?P<sign>\?=|:=|::=|\+=|!=|=)\s*(?P<value>.*)$"
)
_MAKE_VARIABLE = re.compile(r"\$\$|\$\((?:[^()]|\([^()]*\))*\)|\$\{[^{}]*\}|\$[@<^*?+]")


_INCLUDE = re.compile(r"^\s*[-s]?include\s+([^#]+)")
MAX_INCLUDES = 20


class Makefile:
    """Rules and variables of a Makefile, read without running anything. ``homes`` is the file of each recipe."""

    def __init__(self, text: str, path: str = "") -> None:
        self.recipes: dict[str, list[tuple[int, str]]] = {}
        self.homes: dict[str, str] = {}
        self.includes: list[str] = []
        self.prerequisites: dict[str, list[str]] = {}
        self.variables: dict[str, str] = {}
        self.weak: set[str] = set()
        self.exports: set[str] = set()
        self.first = ""
        self.take(text, path)

    def take(self, text: str, path: str) -> None:
        """Read a file: the Makefile itself, or one that it includes."""
        current: list[str] = []
        number = 0
        lines = text.split("\n")
        while number < len(lines):
            start = number
            line = lines[number]
            number += 1
            joined = line
            while joined.endswith("\\") and number < len(lines):
                joined += "\n" + lines[number]
                number += 1
            if joined.startswith("\t"):
                body = joined[1:]
                stripped = body.lstrip("@-+ ")
                for target in current:
                    self.homes[target] = path
                    # blanks keep the offsets of what make itself takes away
                    self.recipes.setdefault(target, []).append(
                        (start + 1, " " * (len(body) - len(stripped) + 1) + stripped)
                    )
                continue
            flat = joined.replace("\\\n", " ").strip("\r")
            if not flat.strip() or flat.lstrip().startswith("#"):
                continue
            assigned = _ASSIGNMENT.match(flat)
            if assigned:
                name = assigned["name"]
                if flat.lstrip().startswith("export"):
                    self.exports.add(name)
                value = assigned["value"].split(" #")[0].strip()
                if assigned["sign"] == "!=":
                    value = f"$(shell {value})"
                if assigned["sign"] == "+=":
                    self.variables[name] = f"{self.variables.get(name, '')} {value}".strip()
                elif assigned["sign"] != "?=" or name not in self.variables:
                    self.variables[name] = value
                    (self.weak.add if assigned["sign"] == "?=" else self.weak.discard)(name)
                continue
            if flat.startswith("export "):
                self.exports.update(flat.split()[1:])
                continue
            included = _INCLUDE.match(flat)
            if included is not None:
                self.includes += included[1].split()
                continue
            rule = _RULE.match(flat) if len(flat) < 4000 else None
            if rule and not flat.startswith(
                (" ", "ifeq", "ifneq", "ifdef", "ifndef", "else", "endif", "include", "-include")
            ):
                current = rule["targets"].split()
                rest = [word for word in rule["rest"].split() if word != "|"]
                for target in current:
                    self.homes.setdefault(target, path)
                    self.prerequisites.setdefault(target, []).extend(rest)
                    self.recipes.setdefault(target, [])
                    if rule["recipe"]:
                        self.recipes[target].append((start + 1, rule["recipe"].strip()))
                if not self.first and current and not current[0].startswith(".") and "%" not in current[0]:
                    self.first = current[0]

    def goals(self) -> list[str]:
        """Every target that has a recipe."""
        return [target for target, recipe in self.recipes.items() if recipe]

    def exported(self, env: Mapping[str, Value]) -> dict[str, Value]:
        """Environment of the recipes."""
        found = dict(env)
        for name in self.exports:
            if name in self.variables:
                found[name] = _closed(self._value(f"$({name})", env, "", 0), self.variables[name])
        return found

    def fill(self, recipe: str, env: Mapping[str, Value], goal: str) -> Filled:
        """A recipe with its make variables replaced."""
        return substitute(recipe, _MAKE_VARIABLE, lambda match: self._value(match[0], env, goal, 0))

    def _value(self, reference: str, env: Mapping[str, Value], goal: str, depth: int) -> Value | Filled:
        if reference == "$$":
            return static("$")
        if reference == "$@":
            return static(goal)
        name = reference[2:-1].strip() if len(reference) > 2 else ""
        if name in ("MAKE",):
            return static("make")
        if name in ("CURDIR", "PWD"):
            return static(".")
        if f"make {name}" in env:
            return env[f"make {name}"]
        given = env.get(name)
        if given is not None and (name not in self.variables or name in self.weak):
            return given
        if name not in self.variables or depth > 8:
            return Value(None, reference, f"{reference} is computed by make", per_commit=differs_per_commit(name))
        filled = substitute(
            self.variables[name][:4000], _MAKE_VARIABLE, lambda match: self._value(match[0], env, goal, depth + 1)
        )
        if len(filled.text) >= 10_000:
            return Value(None, reference, "it is too long")
        return filled if filled.holes else static(filled.text)


def _closed(value: Value | Filled, written: str) -> Value:
    """A make variable as one value: unknown when any piece of it is."""
    if isinstance(value, Value):
        return value
    return Value(
        None,
        _HOLE.sub(lambda match: value.holes[int(match[1])].shown, value.text),
        value.holes[0].why,
        any(hole.secret for hole in value.holes),
        any(hole.per_commit for hole in value.holes) or differs_per_commit(written),
    )
