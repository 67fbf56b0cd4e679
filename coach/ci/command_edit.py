"""Edits of one build command as it stands in a file: options added, replaced, taken out.

A command is shell text inside something else (a YAML scalar, a Groovy string) or a list of words. What is inserted
never needs quotes of its own, so it fits every style of either; where the outer language would read it otherwise, the
caller's ``encode`` says how it is written there.

Sources (read 2026-11): docs.docker.com/build/cache/backends/registry (``mode=max``, ``image-manifest``; the default
driver cannot export), docs.docker.com/reference/cli/docker/buildx/build (``--secret id=…,env=…``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from coach import dockerfile
from coach.ci import commands, compose_change
from coach.ci.commands import Call, Filled, Text
from coach.ci.docker_cli import Flag, Invocation
from coach.ci.nouns import AddCache, SecretArgs, Value, Want
from coach.ci.yamldoc import Doc, Joined, Node
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Edit, Remedy, Safety, Span, Tree, is_file

MOUNTS = "Cache mounts are not part of what is exported: the layers are, so an unchanged layer is not run again."
NOT_FOUND = "the build command was not found in the script"
BUILDER = "docker buildx create --use --driver docker-container"
"""Makes a builder that can export a cache, on a machine that is thrown away after the job."""
NAMED_BUILDER = "docker buildx inspect ci || docker buildx create --name ci --driver docker-container"
"""The same where the machine may live on: the second job finds the builder of the first."""

_PREFIX = re.compile(
    r"\s*(?:(?:if|then|do|else|while|until|!)\s+)*(?P<own>(?:(?:[A-Za-z_]\w*=\S*|sudo|env|time|-E)\s+)*)"
)
_VARIABLE = re.compile(r"\$\$?(?:\{(?:env\.)?(\w+)\}|(\w+))")
_TAGGED = re.compile(r"\bdocker\s+(?:image\s+)?tag\s+(\S+)\s+([^\s;&|)]+)")
_PLAIN = re.compile(r"(?:[\w./:{}-]|\\?\$)*")


@dataclass(frozen=True, slots=True)
class Command:
    """A build command in shell text.

    ``text`` is what was parsed; ``origin`` gives where a character of it stands in the text as it is written, and
    ``byte`` the byte of the file at which a character of that stands (``None``: not known).
    """

    path: str
    content: bytes
    call: Call
    text: str
    origin: Callable[[int], int]
    byte: Callable[[int], int | None]
    encode: Callable[[str], str] = field(default=lambda text: text)

    @property
    def invocation(self) -> Invocation:
        return self.call.invocation

    def start(self, index: int) -> int:
        """Byte at which character ``index`` stands. Raises ``CannotEditError``."""
        return self._byte(self.origin(index))

    def _byte(self, written: int) -> int:
        found = self.byte(written)
        if found is None:
            raise CannotEditError("the command is written in a way whose places are not known")
        return found

    def end(self, index: int) -> int:
        """Byte behind the character in front of ``index``."""
        return self._byte(self.origin(index) - 1) + 1

    def raw(self, start: int, end: int) -> str:
        """What the file holds from character ``start`` to ``end``, quotes and escapes of the outer language too."""
        return self.content[self.start(start) : self.end(end)].decode("utf-8", "replace")

    def insert(self, options: Sequence[str]) -> Edit:
        """Options behind the words that name the command: each on a line of its own where the others have theirs."""
        at = self.end(self.invocation.head_end)
        return Edit(self.path, Span(at, at), (self._joint(at) + self._joint(at).join(options)).encode())

    def _joint(self, at: int) -> str:
        """What stands between two options: a blank, or the command's own way to continue on the next line."""
        match = re.compile(rb"[ \t]*(?P<slashes>\\+)(?P<eol>\r?\n)(?P<indent>[ \t]*)(?=[^\s])").match(self.content, at)
        if match is None:
            return " "
        return " " + b"".join((match["slashes"], match["eol"], match["indent"])).decode()

    def replace(self, flag: Flag, name: str, value: str) -> Edit:
        """Another option with its value in the place of one."""
        span = Span(self.start(flag.start), self.end(flag.end))
        return Edit(self.path, span, self.encode(f"{name} {value}").encode())

    def rewrite(self, flag: Flag, change: Callable[[str], str]) -> Edit:
        """An option as ``change`` makes it out of what the file holds."""
        span = Span(self.start(flag.start), self.end(flag.end))
        return Edit(self.path, span, change(self.raw(flag.start, flag.end)).encode())

    def drop(self, flag: Flag) -> Edit:
        """The command without an option; a line that held nothing else goes with it."""
        return Edit(self.path, cut(self.content, Span(self.start(flag.start), self.end(flag.end))), b"")

    def buildx(self) -> list[Edit]:
        """``docker build`` as ``docker buildx build``."""
        if self.invocation.tool != "docker":
            return []
        head = self.text[self.invocation.start : self.invocation.head_end]
        word = re.search(r"\b((?:image|builder)\s+)?build$", head)
        if word is None:
            raise CannotEditError("the command is put together when it runs")
        start = self.start(self.invocation.start + word.start())
        if word[1] is None:
            return [Edit(self.path, Span(start, start), b"buildx ")]
        return [Edit(self.path, Span(start, self.end(self.invocation.start + word.end(1))), b"buildx ")]

    def assign(self, settings: Sequence[str]) -> list[Edit]:
        """``NAME=value`` in front of the command."""
        if not settings:
            return []
        self._lead()
        place = self.start(self.invocation.start)
        return [Edit(self.path, Span(place, place), "".join(f"{self.encode(text)} " for text in settings).encode())]

    def _begin(self) -> int:
        """Where the simple command starts that holds the words of the build."""
        return max(self.text.rfind(mark, 0, self.invocation.start) for mark in "\n;&|(){}`") + 1

    def _lead(self) -> int:
        """Where the command's own words start, assignments and ``sudo`` included."""
        begin = self._begin()
        match = _PREFIX.fullmatch(self.text, begin, self.invocation.start)
        if match is None:
            raise CannotEditError("another command starts the build")
        return match.start("own")

    def before(self, line: str, node: Node | None = None) -> Edit:
        """``line`` as a command of its own that runs first: a line of the script, or joined with ``&&``.

        ``node`` is the scalar that holds the command, if it is one of YAML.
        """
        begin, lead = self._begin(), self._lead()
        at = self.start(lead)
        first = self.content.rfind(b"\n", 0, at) + 1
        eol = b"\r\n" if self.content[:first].endswith(b"\r\n") else b"\n"
        own_line = not self.text[:lead].rpartition("\n")[2].strip()
        if own_line and (node is None or node.style == "|") and not self.content[first:at].strip():
            return Edit(self.path, Span(first, first), self.content[first:at] + self.encode(line).encode() + eol)
        if node is not None and own_line and node.style != ">":
            dash = re.fullmatch(rb"([ \t]*- +)[\"']?", self.content[first:at])
            if dash is not None:
                quoted = like(node, self.encode(line))
                return Edit(self.path, Span(first, first), dash[1] + quoted.encode() + eol)
        if "!" in self.text[begin:lead]:
            raise CannotEditError("the script asks whether the build fails")
        if re.search(r"\$\($|`$|(?<!\|)\|$", self.text[:begin]):
            raise CannotEditError("the script pipes something into the build, or reads what it prints")
        joined = f"({line})" if "||" in line else line
        return Edit(self.path, Span(at, at), f"{self.encode(joined)} && ".encode())

    def under(self, *programs: str) -> bool:
        """Whether one of ``programs`` runs the command."""
        words = self.text[self._begin() : self.invocation.start].split()
        return any(word.rsplit("/", 1)[-1] in programs for word in words)

    def value(self, flag: Flag) -> str:
        """The value of an option as the file writes it, quotes included."""
        given = flag.value
        if given is None:
            return ""
        if given.start != flag.start:
            return self.raw(given.start, given.end)
        written = self.raw(flag.start, flag.end)
        match = re.match(r"(?:--[\w-]+=|-\w=?)", written)
        return written[match.end() :] if match is not None else ""

    def assigned(self, name: str) -> bool:
        """Whether the script sets the variable for itself without exporting it."""
        if re.search(rf"\bexport\s+(?:\w+=\S*\s+)*{name}\b", self.text) or re.search(r"\bset\s+-\w*a", self.text):
            return False
        sets = rf"(?:^|[\n;&|({{]|\bthen\b|\bdo\b)[ \t]*(?:\w+=\S*[ \t]+)*{name}=|\bread\b[^\n;|&]*\s{name}\b"
        return re.search(sets, self.text) is not None


@dataclass(frozen=True, slots=True)
class Words:
    """A build command written as a YAML list of words; argument ``n`` of the invocation is ``nodes[n - 1]``."""

    doc: Doc
    invocation: Invocation
    nodes: Sequence[Node]
    owner: Node
    """The list that holds the words."""

    @property
    def path(self) -> str:
        return self.doc.path

    def _node(self, number: int) -> Node:
        if not 0 < number <= len(self.nodes):
            raise CannotEditError("the word stands outside of the list")
        return self.nodes[number - 1]

    def insert(self, options: Sequence[str]) -> Edit:
        """Options behind the words that name the command."""
        return self._after(self._node(self.invocation.head_end), options)

    def _after(self, node: Node, words: Sequence[str]) -> Edit:
        written = [like(node, word) for word in words]
        if self.owner.flow:
            if "\n" in self._between(node):
                column = " " * node.column
                text = "".join(f",{self.doc.eol.decode()}{column}{word}" for word in written)
            else:
                text = "".join(f", {word}" for word in written)
            return Edit(self.path, Span(node.span.end, node.span.end), text.encode())
        from coach.ci import yamledit

        indent = yamledit.item_indent(node)
        return yamledit.insert_after(self.doc, node.end_line, [f"{indent}- {word}" for word in written])

    def _between(self, node: Node) -> str:
        """What parts a word from the next one."""
        number = [item.start for item in self.nodes].index(node.start)
        if number + 1 >= len(self.nodes):
            return ""
        return self.doc.content[node.span.end : self.nodes[number + 1].span.start].decode("utf-8", "replace")

    def replace(self, flag: Flag, name: str, value: str) -> Edit:
        """Another option with its value in the place of one."""
        first, last = self._node(flag.start), self._node(flag.end)
        if first.start == last.start:
            return Edit(self.path, first.span, like(first, f"{name}={value}").encode())
        between = self.doc.content[first.span.end : last.span.start].decode("utf-8", "replace")
        if "#" in between:
            raise CannotEditError("a comment stands between the words of the option")
        written = like(first, name) + between + like(last, value)
        return Edit(self.path, Span(first.span.start, last.span.end), written.encode())

    def buildx(self) -> list[Edit]:
        """``build`` as ``buildx``, ``build``."""
        if self.invocation.tool != "docker":
            return []
        verb = self._node(self.invocation.head_end)
        if verb.text != "build" or self.invocation.head_end != 1:
            raise CannotEditError("options stand in front of the word `build`")
        if self.owner.flow:
            joint = ", "
            return [Edit(self.path, Span(verb.span.start, verb.span.start), (like(verb, "buildx") + joint).encode())]
        from coach.ci import yamledit

        indent = yamledit.item_indent(verb)
        return [yamledit.insert_before(self.doc, yamledit.item_first_line(verb), [f"{indent}- {like(verb, 'buildx')}"])]

    def append(self, option: str) -> Edit:
        """An option as the last word."""
        return self._after(self._node(len(self.nodes)), [option])

    def value(self, flag: Flag) -> str:
        """The value of an option as the file writes it, without quotes."""
        if flag.value is None:
            return ""
        written = self._node(flag.end).text or ""
        if flag.start != flag.end:
            return written
        match = re.match(r"(?:--[\w-]+=|-\w=?)", written)
        return written[match.end() :] if match is not None else ""


def like(node: Node, word: str) -> str:
    """``word`` quoted as its neighbour is, or because YAML would read it otherwise."""
    if node.style in ('"', "'"):
        return f"{node.style}{word}{node.style}"
    special = (_in_flow(node) and re.search(r"[,\[\]{}]", word)) or re.search(r": | #|^[&*!|>%@`\"'#{\[]", word)
    return f'"{word}"' if special else word


def cut(content: bytes, span: Span) -> Span:
    """What has to go with a word of shell text: the blanks in front of it, or the line it has for itself."""
    first = content.rfind(b"\n", 0, span.start) + 1
    last = content.find(b"\n", span.end)
    last = len(content) if last < 0 else last + 1
    before, after = content[first : span.start], content[span.end : last]
    if not before.strip():
        if re.match(rb"[ \t]*\\+\r?\n", after):
            return Span(first, last)
        joint = re.search(rb"[ \t]*\\+\r?\n\Z", content[:first])
        if not after.strip() and joint is not None:
            return Span(joint.start(), span.end)
        if not after.strip():
            # a blank line left in folded text would part the command in two
            return Span(first, last)
        return Span(span.start, span.end + len(after) - len(after.lstrip(b" \t")))
    # behind a quote it is the blank after the word that goes with it
    blank = len(after) - len(after.lstrip(b" \t")) if before.endswith((b'"', b"'")) else 0
    return Span(first + len(before.rstrip(b" \t")), span.end + blank)


def in_nodes(
    tree: Tree,
    build: BuildSite,
    nodes: Sequence[Node],
    fill: Callable[[str], Filled] = Filled,
    env: Mapping[str, Value] | None = None,
    encode: Callable[[str], str] = lambda text: text,
    verb: str = "build",
) -> tuple[Command, Node]:
    """The command of ``build`` among scalars that one shell runs, and the scalar. Raises ``CannotEditError``."""
    if build.path not in {node.doc.path for node in nodes}:
        raise CannotEditError(f"the command stands in {build.path}, which builds elsewhere too")
    joined = Joined(nodes)
    filled = fill(joined.text)

    def byte(index: int) -> int | None:
        source, inside = joined.find(index)
        return source.byte(inside)

    def line(index: int) -> int:
        return joined.place(index)[1]

    call = pick(commands.calls(tree, Text(filled, env or {}, ""), follow=False), build, line, verb)
    source, _ = joined.find(call.at)
    node = source.node
    if not node.style and _in_flow(node):
        raise CannotEditError("the command stands in a list written in brackets")
    return Command(build.path, node.doc.content, call, filled.text, filled.origin, byte, encode), node


def _in_flow(node: Node) -> bool:
    """Whether a plain scalar is followed by what only parts the items of brackets."""
    after = node.doc.content[node.span.end : node.span.end + 200].lstrip()
    before = node.doc.content[: node.span.start].rstrip()
    return after.startswith((b",", b"]", b"}")) and before.endswith((b"[", b",", b":"))


def pick(calls: Sequence[Call], build: BuildSite, line: Callable[[int], int], verb: str = "build") -> Call:
    """The build command at ``build.line``. Raises ``CannotEditError`` when there is none, or more than one."""
    found = [
        call
        for call in calls
        if call.invocation.verb == verb and line(call.at) <= build.line <= line(max(call.at, call.till - 1))
    ]
    if not found:
        raise CannotEditError(NOT_FOUND)
    if len(found) > 1:
        raise CannotEditError("several builds stand on one line")
    return found[0]


# -- what is wanted of a command -----------------------------------------------------------------------------------


def secrets(
    command: Command, build: BuildSite, names: Mapping[str, str], exported: Callable[[str], bool] = lambda _: True
) -> list[Edit]:
    """``--build-arg NAME=$NAME`` as ``--secret id=…,env=NAME``; ``exported`` tells which variables programs see.

    A variable that only the script knows is handed to the command in front of it, and so is the switch of BuildKit
    where the engine decides. Raises ``CannotEditError``.
    """
    hands_over(command)
    edits: list[Edit] = []
    settings: dict[str, None] = {}
    for flag in command.invocation.all("build-arg"):
        name, eq, value = _pair(command.value(flag))
        if name not in names:
            continue
        variable = _VARIABLE.fullmatch(value)
        if eq and variable is None:
            raise CannotEditError(f"the value of {name} is put together in the command")
        source = (variable[1] or variable[2]) if variable is not None else name
        if command.assigned(source) or not exported(source):
            settings.setdefault(f"{source}=${source}")
        edits.append(command.replace(flag, "--secret", f"id={names[name]},env={source}"))
    if not edits:
        raise CannotEditError("the arguments are not written in the command")
    switch = ["DOCKER_BUILDKIT=1"] if command.invocation.tool == "docker" and not build.buildkit else []
    return [*command.assign([*switch, *settings]), *edits]


def hands_over(command: Command) -> None:
    """Raise ``CannotEditError`` unless the command can take a secret out of its environment."""
    if command.invocation.tool not in ("docker", "buildx", "podman", "buildah", "nerdctl", "depot"):
        raise CannotEditError(f"{command.invocation.tool} takes no secrets on its command line")
    if command.under("sudo"):
        raise CannotEditError("sudo keeps the variable from the build, which the shell put into the argument so far")


def listed_secrets(command: Words, names: Mapping[str, str], exported: Callable[[str], bool]) -> list[Edit]:
    """``--build-arg NAME`` as ``--secret id=…,env=NAME`` in a list of words, where no shell fills anything in."""
    edits: list[Edit] = []
    for flag in command.invocation.all("build-arg"):
        name, eq, _ = _pair(command.value(flag))
        if name not in names:
            continue
        if eq or not exported(name):
            raise CannotEditError(f"{name} is filled in by the system, so no variable of the build step holds it")
        edits.append(command.replace(flag, "--secret", f"id={names[name]},env={name}"))
    if not edits:
        raise CannotEditError("the arguments are not written in the command")
    return edits


def _pair(written: str) -> tuple[str, str, str]:
    """Name, ``=`` and value of an argument as it is written, without quotes and escapes."""
    plain = re.sub(r"\\(?=[\"'$])", "", written)
    plain = plain[1:-1] if plain[:1] in ("'", '"') and plain[-1:] == plain[:1] else plain
    name, eq, value = plain.partition("=")
    return name.strip("\"'"), eq, value.strip("\"'")


def cache_place(command: Command | Words, build: BuildSite, scope: str) -> str:
    """Where the cache can lie beside the pushed image, written as the command writes its tag (``""``: not known)."""
    names = [re.sub(r"\\?[\"']", "", command.value(flag)) for flag in command.invocation.all("tag", "destination")]
    again = _pushed_as(command, names) if isinstance(command, Command) else []
    for name in (*(names if build.push else ()), *again):
        repository = repository_of(name)
        if re.search(r"[/$]", repository) and _PLAIN.fullmatch(repository):
            return f"{repository}:buildcache{f'-{scope}' if scope else ''}"
    return ""


def _pushed_as(command: Command, names: Sequence[str]) -> list[str]:
    """What the same script calls the image before it pushes it."""
    found = []
    for match in _TAGGED.finditer(command.text):
        image, other = (match[number].strip("\"'") for number in (1, 2))
        if image.removesuffix(":latest") in {name.removesuffix(":latest") for name in names}:
            pushes = rf"\bdocker\s+(?:image\s+)?push\s+[\"']?{re.escape(other.split(':')[0])}"
            if re.search(pushes, command.text):
                found.append(re.sub(r"\\?[\"']", "", command.raw(match.start(2), match.end(2))))
    return found


def repository_of(reference: str) -> str:
    """An image reference without its tag; "" when the tag may hide in a variable or there is no registry to push to."""
    reference = reference.split("@", 1)[0]
    holes = [match.span() for match in re.finditer(r"\\?\$\{[^}]*\}|\\?\$\w+", reference)]
    if "$(" in reference or "`" in reference or re.search(r"\s", reference):
        return ""
    colon = reference.rfind(":")
    while colon >= 0 and any(start <= colon < end for start, end in holes):
        colon = reference.rfind(":", 0, colon)
    if colon >= 0 and "/" not in reference[colon:].split("$", 1)[0]:
        return reference[:colon]
    if holes and holes[-1][1] == len(reference):
        return ""
    return reference if "/" in reference else ""


def registry_cache(place: str) -> tuple[str, str]:
    """Values of ``--cache-from`` and ``--cache-to`` for a cache that lies at ``place``."""
    extra = ",image-manifest=true,oci-mediatypes=true" if re.search(r"ecr", place, re.I) else ""
    return f"type=registry,ref={place}", f"type=registry,ref={place},mode=max{extra}"


def cache(
    command: Command | Words, build: BuildSite, place: str, more: Sequence[str] = (), fallback: str = ""
) -> list[Edit]:
    """``docker build`` as ``docker buildx build`` with a registry cache at ``place``; the result stays loadable.

    A cache at ``fallback`` is imported too, for a branch whose own is not there yet.
    """
    invocation = command.invocation
    if invocation.tool not in ("docker", "buildx"):
        raise CannotEditError(f"{invocation.tool} has its own cache options")
    if any(arg in invocation.open for arg in invocation.positionals[:-1]):
        raise CannotEditError("a variable may hold further options of the command")
    exports = [flag for flag in invocation.all("cache-to") if "inline" not in command.value(flag)]
    if exports:
        return [*command.buildx(), *_widened(command, exports)]
    # what is imported without being exported, or with the last stage alone, gives way
    dropped = [flag for flag in invocation.flags if flag.name in ("cache-from", "cache-to")]
    if dropped and isinstance(command, Words):
        raise CannotEditError("the command has cache options of its own already")
    came, goes = registry_cache(place)
    pairs = [("--cache-from", came), ("--cache-to", goes)]
    if fallback:
        pairs.insert(1, ("--cache-from", registry_cache(fallback)[0]))
    options = [*more]
    if isinstance(command, Words):
        options += [word for pair in pairs for word in pair]
    else:
        options += [" ".join(pair) for pair in pairs]
    output = any(invocation.on(name) for name in ("push", "load")) or invocation.last("output") is not None
    if not output and len(build.platforms) < 2:
        options.append("--load")
    gone = [command.drop(flag) for flag in dropped] if isinstance(command, Command) else []
    return [*command.buildx(), command.insert(options), *gone]


def _widened(command: Command | Words, exports: Sequence[Flag]) -> list[Edit]:
    """A cache that is exported with the last stage alone, or that nobody imports, made whole."""
    written = command.value(exports[0])
    if isinstance(command, Words) or len(exports) > 1 or re.search(r"mode=\\?\$", written):
        raise CannotEditError("the command has cache options of its own already")
    edits = []
    if "mode=max" not in written:
        edits.append(command.rewrite(exports[0], _with_every_stage))
    if not command.invocation.all("cache-from"):
        plain = re.sub(r"\\?[\"']", "", written)
        kept = [item for item in plain.split(",") if re.match(r"(type|ref|src|scope|bucket|region|name)=", item)]
        if not re.match(r"type=registry,", plain + ",") or not _PLAIN.fullmatch(
            plain.replace("=", "").replace(",", "")
        ):
            raise CannotEditError("the command has cache options of its own already")
        edits.append(command.insert([f"--cache-from {','.join(kept)}"]))
    if not edits:
        raise CannotEditError("the command has cache options of its own already")
    return edits


def _with_every_stage(written: str) -> str:
    if "mode=" in written:
        return re.sub(r"mode=\w+", "mode=max", written)
    return re.sub(r"(\\?[\"'])?$", r",mode=max\1", written, count=1)


def why_registry(place: str) -> tuple[str, ...]:
    """What has to be looked at before a cache is written to ``place``."""
    place = place.replace("\\", "")
    reasons = [f"the cache is written to {place}, so the login of this job must be allowed to push there"]
    if re.search(r"ecr", place, re.I):
        reasons.append("in ECR the repository must allow its tags to be overwritten")
    return tuple(reasons)


def scripted(
    tree: Tree,
    build: BuildSite,
    want: Want,
    groups: Iterable[Sequence[Node]],
    *,
    outlives: bool = False,
    fill: Callable[[str], Filled] = Filled,
    encode: Callable[[str], str] = lambda text: text,
    exported: Callable[[str], bool] = lambda _: True,
) -> Remedy | None:
    """What to change in a command that is a line of a job's script; ``None`` for a want that is not of commands.

    ``groups`` are the scalars that one shell runs, job by job; ``outlives`` says that the machine may be there for the
    next job, too. Raises ``CannotEditError``.
    """
    if not isinstance(want, AddCache | SecretArgs):
        return None
    if build.defined_in and isinstance(want, SecretArgs):
        return compose_change.secret_args(tree, build, want)
    if build.defined_in and build.tool != "bake":
        raise CannotEditError(f"a cache that {build.defined_in} names is asked for on every machine that reads it")
    why: CannotEditError | None = None
    for nodes in groups:
        try:
            command, node = in_nodes(
                tree, build, nodes, fill, encode=encode, verb="bake" if build.tool == "bake" else "build"
            )
        except CannotEditError as error:
            why = error if why is None or str(why) == NOT_FOUND else why
            continue
        if isinstance(want, SecretArgs):
            return handed_over(build, want, secrets(command, build, want.names, exported))
        if build.tool == "bake":
            return _baked(tree, command, build, want, outlives, node)
        return kept(command, build, want, outlives, node)
    raise why or CannotEditError(NOT_FOUND)


def kept(command: Command, build: BuildSite, want: AddCache, outlives: bool, node: Node | None = None) -> Remedy:
    """The command with a registry cache and a builder that can export it."""
    place = cache_place(command, build, want.scope)
    exported = next((ref.attrs.get("ref", ref.type) for ref in build.cache_to if ref.type != "inline"), "")
    if not place and not exported:
        raise CannotEditError("where the image is pushed, beside which a cache could lie, is not written at the build")
    # what is exported today has a builder that can do it
    edits, more, reasons = ([], [], ()) if exported else _builder(command, build, outlives, node)
    edits += cache(command, build, place, more)
    reasons = (*why_registry(exported or place), *reasons)
    return Remedy(Safety.REVIEW, tuple(edits), reasons, says_kept(build, exported or place))


def _baked(tree: Tree, command: Command, build: BuildSite, want: AddCache, outlives: bool, node: Node | None) -> Remedy:
    """The bake command with a registry cache for one target: the file itself is read on other machines, too."""
    from coach.ci import bake

    target = bake.target_of(tree, build)
    if target is None or build.cache_from or build.cache_to:
        raise CannotEditError("the caches of the target come from the bake file and the command together")
    repository = next((found for tag in build.tags if (found := repository_of(tag)) and "/" in found), "")
    if not build.push or not repository or not _PLAIN.fullmatch(repository) or "$" in repository:
        raise CannotEditError("where the image is pushed, beside which a cache could lie, is not written at the target")
    place = f"{repository}:buildcache{f'-{want.scope}' if want.scope else ''}"
    came, goes = registry_cache(place)
    edits, more, reasons = _builder(command, build, outlives, node)
    options = [*more, f"--set {target.name}.cache-from={came}", f"--set {target.name}.cache-to={goes}"]
    return Remedy(
        Safety.REVIEW,
        (*edits, command.insert(options)),
        (*why_registry(place), *reasons),
        says_kept(build, place),
    )


def _builder(
    command: Command, build: BuildSite, outlives: bool, node: Node | None
) -> tuple[list[Edit], list[str], tuple[str, ...]]:
    """What makes a builder that can export a cache, the options that choose it, and why."""
    chosen = re.search(r"\bbuildx\s+create\b[^\n;&|]*\s--use\b", command.text[: command.invocation.start])
    if build.driver not in ("", "docker") or chosen is not None:
        return [], [], ()
    why = "the build moves from the engine's builder to one of its own, made by docker's buildx plug-in"
    edit = command.before(NAMED_BUILDER if outlives else BUILDER, node)
    return [edit], ["--builder ci"] if outlives else [], (why,)


def says_kept(build: BuildSite, place: str) -> str:
    """What a registry cache does, and why it is one."""
    return (
        f"`{build.path}` line {build.line} keeps the layers of every stage (`mode=max`) beside the image, at "
        f"`{place}`: the registry is the one place that every job reaches. {MOUNTS}"
    )


def handed_over(build: BuildSite, want: SecretArgs, edits: Sequence[Edit], *reasons: str) -> Remedy:
    """Arguments that became secrets."""
    names = ", ".join(want.names)
    return Remedy(
        Safety.REVIEW,
        tuple(edits),
        (f"the Dockerfile has to read {names} from a secret mount", *reasons),
        f"`{build.path}` line {build.line} hands over {names} as a secret, which no layer and no history keeps.",
    )


def newer_frontend(tree: Tree, build: BuildSite) -> list[Edit]:
    """A ``# syntax=`` line for a Dockerfile that has none: what an old engine brings knows no secret variables.

    "env: mount the secret to an environment variable", since Dockerfile 1.10.0: moby/buildkit
    frontend/dockerfile/docs/reference.md; Engine 28.0 brings a newer one, 26.1 (BuildKit 0.13) an older one.
    """
    if build.dockerfile is None or not is_file(tree, build.dockerfile):
        return []
    content = tree.read(build.dockerfile)
    parsed = dockerfile.parse(content, build.dockerfile)
    if parsed.syntax is not None:
        return []
    at = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    return [Edit(build.dockerfile, Span(at, at), b"# syntax=docker/dockerfile:1" + parsed.eol)]
