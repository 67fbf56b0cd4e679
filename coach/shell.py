"""Shell text read as commands: what runs, where, with which environment, and at which characters.

The grammar is tree-sitter-bash's; evaluation on top of it is static: quotes, variables that are known, ``cd``,
``export``. Whatever depends on the running machine is ``None``, never guessed. Every walk is a loop over an explicit
stack, and text that would make the parser slow is not parsed at all (``Script.broken``).
"""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice, pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tree_sitter

NOTHING: Mapping[str, str | None] = MappingProxyType({})

# Beyond these the parser's error recovery turns quadratic in time or memory (measured with tree-sitter 0.26).
MAX_LENGTH = 256 * 1024
MAX_OPERATORS = 2000
MAX_COMMANDS = 2000
_MAX_NESTED_SCRIPTS = 4
_MAX_NESTED_DEFAULTS = 8
_MAX_WORD = 64 * 1024


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a command. ``text`` is what the command receives, ``None`` when it is not static.

    ``start`` and ``end`` are character offsets into ``Script.source``. A leading ``~`` or ``$HOME`` stays ``~`` when
    the environment does not say where home is.
    """

    raw: str
    text: str | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Redirect:
    """``>``, ``>>``, ``<``, ``<<``, ``<<<`` … and what it points at (for ``<<`` the body of the heredoc)."""

    operator: str
    target: Word


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command, wherever it stands in the script.

    ``argv`` is as written; ``words`` (and ``name``, the basename of its first) is what is left after ``env``, ``sudo``,
    ``exec``, ``time`` and their like are peeled off. ``cwd`` is the directory it runs in, ``None`` when unknown;
    ``env`` the exported variables in force, its own assignments included. ``guarded`` says that it may not run: inside
    ``if``/``case``/loops/functions, right of ``||``, after a test. ``item`` indexes ``Script.items``. ``cut`` is the
    range whose removal drops just this command and leaves a valid script (``None`` when there is none). ``user`` is who
    ``sudo -u``, ``su``, ``gosu`` … switch to. ``exact`` is false when the offsets are only those of the enclosing word.
    """

    argv: tuple[Word, ...]
    assignments: tuple[tuple[str, Word], ...]
    start: int
    end: int
    redirects: tuple[Redirect, ...]
    cwd: str | None
    env: Mapping[str, str | None]
    guarded: bool
    item: int
    name: str | None
    words: tuple[str | None, ...]
    cut: tuple[int, int] | None = None
    user: str | None = None
    exact: bool = True

    @property
    def peeled(self) -> tuple[Word, ...]:
        """The words behind ``words``, with their offsets."""
        return self.argv[len(self.argv) - len(self.words) :]


@dataclass(frozen=True, slots=True)
class Item:
    """A top-level list item. ``joiner`` precedes it: ``&&``, ``||``, ``;``, ``&``, a newline; ``""`` for the first."""

    start: int
    end: int
    joiner: str


@dataclass(frozen=True, slots=True)
class Script:
    """A parsed script. ``broken``: it has a syntax error or is too large to be read, and ``commands`` may lack some."""

    source: str
    commands: tuple[Command, ...]
    items: tuple[Item, ...]
    broken: bool


def parse(source: str, env: Mapping[str, str | None] = NOTHING, cwd: str | None = None) -> Script:
    """Commands of a POSIX or bash script, in the order they are written. Never raises.

    ``env`` is what is exported when the script starts: a value of ``None`` exists but is unknown. A variable that is
    not in ``env`` counts as unknown too, since a base image may bring it along.
    """
    if len(source) > MAX_LENGTH or any(source.count(sign) > MAX_OPERATORS for sign in "|<([{`") or "\0" in source:
        return Script(source, (), (), True)
    walk = _Walk()
    scope = _Scope(dict(env), dict(env), cwd)
    text = _Text(source)
    root = text.root()
    items = list(islice(_items(text, root), MAX_COMMANDS))
    walk.push_block(text, root, scope, False, None)
    walk.run()
    return Script(source, tuple(walk.commands), tuple(items), walk.cut_short or root.has_error)


def parse_argv(argv: Sequence[str], env: Mapping[str, str | None] = NOTHING, cwd: str | None = None) -> Script:
    """An exec-form command line; ``["sh", "-c", "…"]`` is followed into its script.

    ``source`` is the words joined by blanks: its offsets are not the file's (``Command.exact`` is false).
    """
    source = " ".join(argv)
    words: list[Word] = []
    at = 0
    for text in argv:
        words.append(Word(text, text, at, at + len(text)))
        at += len(text) + 1
    walk = _Walk()
    scope = _Scope(dict(env), dict(env), cwd)
    if words and sum(map(len, argv)) <= MAX_LENGTH:
        place = _Place(_Text(source, exact=False), scope, False, 0, None)
        walk.command(place, words, [], [], 0, len(source))
        walk.run()
    commands = tuple(replace(command, exact=False, cut=None) for command in walk.commands)
    return Script(source, commands, (Item(0, len(source), ""),) if words else (), walk.cut_short)


@lru_cache(maxsize=1)
def _parser() -> tree_sitter.Parser:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


class _Text:
    """A piece of source and how its bytes map to characters of the outermost source."""

    def __init__(
        self, source: str, shift: int = 0, exact: bool = True, clamp: tuple[int, int] | None = None, depth: int = 0
    ) -> None:
        self.source = source
        self.shift = shift
        self.exact = exact
        self.clamp = clamp
        self.depth = depth
        self.bytes = source.encode("utf-8", "replace")
        self._ends: list[int] = []
        self._extra: list[int] = []
        if len(self.bytes) != len(source):
            more = 0
            for match in re.finditer(r"[^\x00-\x7f]", source):
                width = len(match.group().encode("utf-8", "replace"))
                more += width - 1
                self._ends.append(match.start() + more + 1)
                self._extra.append(more)

    def root(self) -> tree_sitter.Node:
        tree = _parser().parse(self.bytes)
        assert tree is not None
        return tree.root_node

    def char(self, byte: int) -> int:
        """Character of this piece of source at which ``byte`` stands."""
        at = bisect_right(self._ends, byte)
        return byte - (self._extra[at - 1] if at else 0)

    def at(self, node: tree_sitter.Node) -> tuple[int, int]:
        """Where ``node`` stands in the outermost source."""
        if self.clamp is not None:
            return self.clamp
        return self.char(node.start_byte) + self.shift, self.char(node.end_byte) + self.shift

    def span(self, leaf: _Leaf) -> tuple[int, int]:
        return self.at(leaf.node)[0], self.clamp[1] if self.clamp is not None else self.char(leaf.end) + self.shift

    def of(self, node: tree_sitter.Node) -> str:
        return self.bytes[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def between(self, start: int, end: int) -> str:
        return self.bytes[start:end].decode("utf-8", "replace")


@dataclass(slots=True)
class _Scope:
    """Variables and directory of one shell process. The dictionaries are replaced, never changed."""

    env: dict[str, str | None]
    shell: dict[str, str | None]
    cwd: str | None
    allexport: bool = False
    pushed: tuple[str | None, ...] = ()
    user: str | None = None

    def child(self) -> _Scope:
        return replace(self)

    def assign(self, name: str, value: str | None, export: bool = False) -> None:
        self.shell = {**self.shell, name: value}
        if export or self.allexport or name in self.env:
            self.env = {**self.env, name: value}

    def export(self, name: str) -> None:
        if name in self.shell:
            self.env = {**self.env, name: self.shell[name]}

    def unset(self, name: str) -> None:
        # an empty value stands for "unset": an absent name would mean that nobody knows
        if name in self.shell:
            self.shell = {**self.shell, name: ""}
        if name in self.env:
            self.env = {key: value for key, value in self.env.items() if key != name}

    def lookup(self, name: str) -> str | None:
        if name in self.shell:
            return self.shell[name]
        if name == "HOME":
            return "~"
        return self.cwd if name == "PWD" else None

    def enter(self, directory: str | None) -> None:
        if directory is None:
            self.cwd = None
        elif directory.startswith(("/", "~")):
            self.cwd = posixpath.normpath(directory)
        else:
            self.cwd = None if self.cwd is None else posixpath.normpath(posixpath.join(self.cwd, directory))


@dataclass(slots=True)
class _Fork:
    """State at the start of something that may not run, and what its branches changed."""

    scope: _Scope
    env: dict[str, str | None]
    shell: dict[str, str | None]
    cwd: str | None
    env_changed: set[str] = field(default_factory=set)
    shell_changed: set[str] = field(default_factory=set)
    moved: bool = False

    @classmethod
    def at(cls, scope: _Scope) -> _Fork:
        return cls(scope, scope.env, scope.shell, scope.cwd)

    def back(self) -> None:
        """Take the scope back to the start, remembering what the branch did to it."""
        for changed, old, new in (
            (self.env_changed, self.env, self.scope.env),
            (self.shell_changed, self.shell, self.scope.shell),
        ):
            if old is not new:
                changed |= {name for name in old.keys() | new.keys() if old.get(name, "") != new.get(name, "")}
        self.moved = self.moved or self.scope.cwd != self.cwd
        self.scope.env, self.scope.shell, self.scope.cwd = self.env, self.shell, self.cwd

    def join(self) -> None:
        """Go on after all branches: what any of them changed is unknown from here."""
        self.back()
        if self.env_changed:
            self.scope.env = {**self.env, **dict.fromkeys(self.env_changed)}
        if self.shell_changed:
            self.scope.shell = {**self.shell, **dict.fromkeys(self.shell_changed)}
        if self.moved:
            self.scope.cwd = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node of the tree is met: everything about a command that its own node does not say."""

    text: _Text
    scope: _Scope
    guarded: bool
    item: int
    cut: tuple[int, int] | None
    redirects: tuple[Redirect, ...] = ()


_SEPARATORS = frozenset({";", "&", ";;", "\n", "comment", "{", "}", "(", ")", "do", "done", "then", "fi", "in", "esac"})
_TESTS = frozenset({"test", "[", "grep", "which", "type", "hash", "id", "getent", "command", "cmp", "diff"})
_HARMLESS = frozenset({"true", ":", "echo", "/bin/true"})
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh"})


@dataclass(frozen=True, slots=True)
class _Leaf:
    """One operand of a list. ``end`` is a byte; redirections that the grammar hangs on the whole list are its own."""

    operator: str
    node: tree_sitter.Node
    end: int
    redirects: tuple[tree_sitter.Node, ...] = ()


def _leaves(node: tree_sitter.Node) -> list[_Leaf]:
    """``a && b || c`` as its operands, each with the operator before it; the grammar nests lists to the left."""
    found: list[_Leaf] = []
    end = node.end_byte
    redirects: tuple[tree_sitter.Node, ...] = ()
    while True:
        body = node.child_by_field_name("body") if node.type == "redirected_statement" else None
        if body is not None and body.type == "list":
            # `a && b >f` redirects b, whatever the tree says
            end, redirects, node = node.end_byte, tuple(node.children_by_field_name("redirect")), body
            continue
        children = [child for child in node.children if child.type != "comment"] if node.type == "list" else []
        if len(children) < 3:
            found.append(_Leaf("", node, end, redirects))
            return found[::-1]
        for operator, operand in zip(children[-2:0:-2], children[:0:-2], strict=False):
            last = operand is children[-1]
            found.append(_Leaf(operator.type, operand, end if last else operand.end_byte, redirects if last else ()))
        node = children[0]
        end, redirects = node.end_byte, ()


def _statements(node: tree_sitter.Node) -> list[tree_sitter.Node]:
    children = list(node.children)
    if node.type == "case_item":
        opened = next((index for index, child in enumerate(children) if child.type == ")"), 0)
        children = children[opened + 1 :]
    return [child for child in children if child.is_named and child.type != "comment"]


def _items(text: _Text, root: tree_sitter.Node) -> Iterator[Item]:
    end = None
    for statement in _statements(root):
        for leaf in _leaves(statement):
            joiner = leaf.operator
            if not joiner and end is not None:
                gap = re.sub(r"#[^\n]*", "", text.between(end, leaf.node.start_byte))
                joiner = "&" if "&" in gap else ";" if ";" in gap else "\n"
            yield Item(*text.span(leaf), joiner)
            end = leaf.end


class _Walk:
    """Runs over a tree in the order a shell would, with a stack of its own instead of recursion."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.cut_short = False
        self._todo: list[Callable[[], None]] = []
        self._evaluating = 0

    def run(self) -> None:
        while self._todo:
            self._todo.pop()()
            if len(self.commands) >= MAX_COMMANDS:
                self.cut_short = True
                self._todo.clear()

    def _later(self, tasks: Sequence[Callable[[], None]]) -> None:
        self._todo.extend(reversed(tasks))

    # -- statements ------------------------------------------------------------------------------------------------

    def push_block(
        self,
        text: _Text,
        node: tree_sitter.Node,
        scope: _Scope,
        guarded: bool,
        item: int | None,
    ) -> None:
        self._push_sequence(text, _statements(node), scope, guarded, item)

    def _push_sequence(
        self,
        text: _Text,
        statements: Sequence[tree_sitter.Node],
        scope: _Scope,
        guarded: bool,
        item: int | None,
    ) -> None:
        tasks: list[Callable[[], None]] = []
        number = 0
        if len(statements) > MAX_COMMANDS:
            self.cut_short = True
            statements = statements[:MAX_COMMANDS]
        for index, statement in enumerate(statements):
            before = statements[index - 1] if index else None
            after = statements[index + 1] if index + 1 < len(statements) else None
            leaves = _leaves(statement)
            tasks += self._list(text, leaves, before, after, scope, guarded, number if item is None else item, item)
            number += len(leaves)
        self._later(tasks)

    def _list(
        self,
        text: _Text,
        leaves: Sequence[_Leaf],
        before: tree_sitter.Node | None,
        after: tree_sitter.Node | None,
        scope: _Scope,
        guarded: bool,
        number: int,
        fixed: int | None,
    ) -> list[Callable[[], None]]:
        tasks: list[Callable[[], None]] = []
        tested = False
        for index, leaf in enumerate(leaves):
            if leaf.operator == "||":
                tested = False
            cut = self._cut(text, leaves, index, before, after)
            maybe = guarded or tested or leaf.operator == "||"
            place = _Place(text, scope, maybe, number if fixed is not None else number + index, cut)
            visit = self._leaf_visitor(leaf, place)
            tasks += self._maybe(scope, visit) if maybe and not guarded else [visit]
            tested = tested or self._is_test(text, leaf.node)
        return tasks

    def _visitor(self, node: tree_sitter.Node, place: _Place) -> Callable[[], None]:
        return lambda: self._visit(node, place)

    def _leaf_visitor(self, leaf: _Leaf, place: _Place) -> Callable[[], None]:
        return lambda: self._with_redirects(leaf.node, leaf.redirects, place)

    def _maybe(self, scope: _Scope, task: Callable[[], None]) -> list[Callable[[], None]]:
        box: list[_Fork] = []
        return [lambda: box.append(_Fork.at(scope)), task, lambda: box[0].join()]

    @staticmethod
    def _is_test(text: _Text, node: tree_sitter.Node) -> bool:
        while node.type in {"negated_command", "redirected_statement"} and node.named_child_count:
            inner = node.named_child(0)
            if inner is None:
                return False
            node = inner
        if node.type in {"test_command", "negated_command", "pipeline"}:
            return node.type != "pipeline" or "grep" in text.of(node)
        name = node.child_by_field_name("name") if node.type == "command" else None
        return name is not None and posixpath.basename(text.of(name)) in _TESTS

    @staticmethod
    def _cut(
        text: _Text,
        leaves: Sequence[_Leaf],
        index: int,
        before: tree_sitter.Node | None,
        after: tree_sitter.Node | None,
    ) -> tuple[int, int] | None:
        if not text.exact or text.clamp is not None or leaves[index].operator == "||":
            return None
        last = index
        while last + 1 < len(leaves) and leaves[last + 1].operator == "||":
            last += 1
            if text.of(leaves[last].node).split()[:1] not in ([word] for word in _HARMLESS):
                return None
        start, end = text.span(leaves[index])[0], text.span(leaves[last])[1]
        if index:
            return text.span(leaves[index - 1])[1], end
        if last + 1 < len(leaves):
            return start, text.span(leaves[last + 1])[0]
        if before is not None:
            start = text.at(before)[1]
            return (
                None if "&" in text.source[start - text.shift : text.span(leaves[0])[0] - text.shift] else (start, end)
            )
        if after is not None:
            finish = text.at(after)[0]
            return None if "&" in text.source[end - text.shift : finish - text.shift] else (start, finish)
        return None

    def _visit(self, node: tree_sitter.Node, place: _Place) -> None:
        match node.type:
            case "command":
                self._simple(node, place)
            case "redirected_statement":
                self._redirected(node, place)
            case "declaration_command" | "unset_command":
                self._declare(node, place)
            case "variable_assignment" | "variable_assignments":
                self._assign(node, place)
            case "list":
                leaves = _leaves(node)
                self._later(
                    self._list(place.text, leaves, None, None, place.scope, place.guarded, place.item, place.item)
                )
            case "pipeline":
                parts = node.named_children
                self._later(
                    [
                        self._visitor(
                            part,
                            replace(
                                place,
                                scope=place.scope.child(),
                                cut=None,
                                redirects=place.redirects if index + 1 == len(parts) else (),
                            ),
                        )
                        for index, part in enumerate(parts)
                    ]
                )
            case "subshell" | "command_substitution" | "process_substitution":
                self.push_block(place.text, node, place.scope.child(), place.guarded, place.item)
            case "compound_statement":
                self.push_block(place.text, node, place.scope, place.guarded, place.item)
            case "function_definition":
                body = node.child_by_field_name("body")
                if body is not None:
                    self._visit(body, replace(place, scope=place.scope.child(), guarded=True, cut=None))
            case "if_statement" | "elif_clause" | "else_clause" | "while_statement" | "for_statement":
                self._conditional(node, place)
            case "c_style_for_statement" | "case_statement":
                self._conditional(node, place)
            case "do_group" | "case_item":
                self.push_block(place.text, node, place.scope, True, place.item)
            case "test_command" | "comment" | "word" | "string" | "raw_string" | "heredoc_body" | "function_name":
                self._substitutions(node, place)
            case _:
                inner = replace(place, cut=None, guarded=place.guarded or node.type == "ERROR")
                self._later([self._visitor(child, inner) for child in node.named_children])

    def _conditional(self, node: tree_sitter.Node, place: _Place) -> None:
        """Conditions run; every branch may not, and each starts from the same state."""
        tasks: list[Callable[[], None]] = []
        plain = replace(place, cut=None)
        fork = _Fork.at(place.scope)
        variable = node.child_by_field_name("variable")
        if variable is not None:
            place.scope.assign(place.text.of(variable), None)
        body: list[tree_sitter.Node] = []

        def flush() -> None:
            if body:
                statements = tuple(body)
                body.clear()
                tasks.append(
                    lambda: self._push_sequence(place.text, statements, place.scope, True, place.item),
                )
                tasks.append(fork.back)

        in_body = node.type == "else_clause"
        for child in node.children:
            if child.type in {"then", "in", "do"}:
                in_body = True
            elif child.type in {"elif_clause", "else_clause", "do_group", "case_item"}:
                flush()
                tasks += [self._visitor(child, replace(plain, guarded=True)), fork.back]
            elif child.type in _SEPARATORS or not child.is_named:
                continue
            elif in_body and node.type in {"if_statement", "elif_clause", "else_clause"}:
                body.append(child)
            else:
                tasks.append(self._visitor(child, plain))
        flush()
        self._later([*tasks, fork.join])

    def _redirected(self, node: tree_sitter.Node, place: _Place) -> None:
        body = node.child_by_field_name("body")
        self._with_redirects(body, node.children_by_field_name("redirect"), place)

    def _with_redirects(self, body: tree_sitter.Node | None, nodes: Sequence[tree_sitter.Node], place: _Place) -> None:
        redirects: list[Redirect] = list(place.redirects)
        tail: list[tree_sitter.Node] = []
        for child in nodes:
            redirects += self._redirects(child, place)
            if child.type == "heredoc_redirect":
                known = {"<<", "<<-", "heredoc_start", "heredoc_body", "heredoc_end", "file_redirect"}
                tail += [part for part in child.named_children if part.type not in known]
        tasks: list[Callable[[], None]] = []
        if body is not None:
            tasks.append(self._visitor(body, replace(place, redirects=tuple(redirects))))
        # `cmd <<EOF && next` hangs what follows below the heredoc
        tasks += [self._visitor(part, replace(place, cut=None, redirects=())) for part in tail]
        self._later(tasks)

    def _redirects(self, node: tree_sitter.Node, place: _Place) -> Iterator[Redirect]:
        text = place.text
        if node.type == "heredoc_redirect":
            body = next((child for child in node.named_children if child.type == "heredoc_body"), None)
            head = next((child for child in node.named_children if child.type == "heredoc_start"), node)
            operator = node.children[0].type if node.children else "<<"
            raw = text.of(body) if body is not None else ""
            expands = not any(sign in text.of(head) for sign in "'\"\\") and "$" in raw
            start, end = text.at(body if body is not None else node)
            yield Redirect(operator, Word(raw, None if expands else raw, start, end))
            for child in node.named_children:
                if child.type == "file_redirect":
                    yield from self._redirects(child, place)
            return
        target = node.child_by_field_name("destination") or (node.named_children[-1] if node.named_children else None)
        if target is not None:
            operator = next((child.type for child in node.children if child.type[:1] in "<>&"), ">")
            for word in self._words(target, place):
                yield Redirect(operator, word)

    def _assign(self, node: tree_sitter.Node, place: _Place, export: bool = False) -> None:
        nodes = [node] if node.type == "variable_assignment" else list(node.named_children)
        for each in nodes:
            if each.type == "variable_assignment":
                name, word = self._assignment(each, place)
                place.scope.assign(name, word.text, export)
        self._substitutions(node, place)

    def _assignment(self, node: tree_sitter.Node, place: _Place) -> tuple[str, Word]:
        name = node.child_by_field_name("name")
        value = node.child_by_field_name("value")
        label = place.text.of(name) if name is not None else ""
        if value is None:
            end = place.text.at(node)[1]
            return label, Word("", "", end, end)
        start, end = place.text.at(value)
        content = None if value.type == "array" else self._text_of(value, place)
        if node.children and any(child.type == "+=" for child in node.children):
            content = None
        return label, Word(place.text.of(value), content, start, end)

    def _declare(self, node: tree_sitter.Node, place: _Place) -> None:
        kind = node.children[0].type if node.children else ""
        options = [place.text.of(child) for child in node.named_children if child.type == "word"]
        export = kind == "export" or any(option.startswith("-") and "x" in option for option in options)
        for child in node.named_children:
            if child.type == "variable_assignment":
                self._assign(child, place, export)
            elif child.type == "variable_name" and node.type == "unset_command":
                place.scope.unset(place.text.of(child))
            elif child.type == "variable_name" and export:
                place.scope.export(place.text.of(child))
            else:
                self._substitutions(child, place)

    # -- simple commands -------------------------------------------------------------------------------------------

    def _simple(self, node: tree_sitter.Node, place: _Place) -> None:
        words: list[Word] = []
        assignments: list[tuple[str, Word]] = []
        redirects = list(place.redirects)
        for child in node.named_children:
            if child.type == "variable_assignment":
                assignments.append(self._assignment(child, place))
            elif child.type in {"file_redirect", "heredoc_redirect", "herestring_redirect"}:
                redirects += self._redirects(child, place)
            elif child.type == "command_name":
                for part in child.named_children or [child]:
                    words += self._words(part, place)
            elif child.type != "comment":
                words += self._words(child, place)
        start, end = place.text.at(node)
        # what a substitution runs, it runs before the command that uses its output
        substitutions = list(self._found_substitutions(node))
        inner = replace(place, scope=place.scope.child(), cut=None, redirects=())
        tasks = [self._visitor(found, inner) for found in substitutions]
        self._later([*tasks, lambda: self.command(place, words, assignments, redirects, start, end)])

    def command(
        self,
        place: _Place,
        words: Sequence[Word],
        assignments: Sequence[tuple[str, Word]],
        redirects: Sequence[Redirect],
        start: int,
        end: int,
    ) -> None:
        """Record one command, carry out what it does to the scope, and follow the script it may hold."""
        scope = place.scope
        if not words:
            for variable, value in assignments:
                scope.assign(variable, value.text)
            return
        peel = _peel(words)
        env = {**scope.env, **{name: value.text for name, value in assignments}, **peel.env}
        user = peel.user or scope.user
        if user != scope.user and "HOME" in env:
            env["HOME"] = None
        cwd = scope.cwd
        if peel.chdir is not None:
            moved = scope.child()
            moved.enter(peel.chdir.text)
            cwd = moved.cwd
        texts = tuple(word.text for word in peel.words)
        first = texts[0] if texts else None
        name = posixpath.basename(first) if first else None
        recorded = Command(
            tuple(words), tuple(assignments), start, end, tuple(redirects), cwd, MappingProxyType(env),
            place.guarded, place.item, name, texts, place.cut, user, place.text.exact and place.text.clamp is None,
        )  # fmt: skip
        script = peel.script
        if script is None and name in _SHELLS and len(texts) == 1:
            script = next(
                (redirect.target for redirect in redirects if redirect.operator in {"<<", "<<-", "<<<"}), None
            )
        if script is not None and script.text is not None and place.text.depth < _MAX_NESTED_SCRIPTS:
            inside = _Scope(dict(env), dict(env), cwd, user=user)
            self._nested(script, script.text, place, scope if name == "eval" else inside)
            return
        self.commands.append(recorded)
        self._effect(name, texts, scope)

    @staticmethod
    def _effect(name: str | None, texts: Sequence[str | None], scope: _Scope) -> None:
        operands = [text for text in texts[1:] if text is None or not text.startswith("-") or text == "-"]
        match name:
            case "cd" | "pushd":
                if name == "pushd":
                    scope.pushed = (*scope.pushed[-50:], scope.cwd)
                if not operands:
                    scope.enter(scope.lookup("HOME"))
                else:
                    scope.enter(None if operands[0] == "-" else operands[0])
            case "popd":
                scope.cwd = scope.pushed[-1] if scope.pushed else None
                scope.pushed = scope.pushed[:-1]
            case "set" if any(text in {"-a", "allexport"} for text in texts[1:]):
                scope.allexport = True
            case "read" | "mapfile" | "getopts":
                for text in operands:
                    if text:
                        scope.assign(text, None)
            case _:
                pass

    def _nested(self, word: Word, source: str, place: _Place, scope: _Scope) -> None:
        shift, exact, clamp = 0, False, (word.start, word.end)
        inner = word.raw[1:-1] if word.raw[:1] in {"'", '"'} and word.raw[-1:] == word.raw[:1] else word.raw
        if place.text.exact and place.text.clamp is None and inner == source:
            shift, exact = word.start + (inner is not word.raw), True
        if source == "" or len(source) > MAX_LENGTH:
            return
        text = _Text(source, shift, exact, None if exact else clamp, place.text.depth + 1)
        root = text.root()
        self.cut_short = self.cut_short or root.has_error
        self.push_block(text, root, scope, place.guarded, place.item)

    def _substitutions(self, node: tree_sitter.Node, place: _Place) -> None:
        inner = replace(place, scope=place.scope.child(), cut=None, redirects=())
        self._later([self._visitor(found, inner) for found in self._found_substitutions(node)])

    @staticmethod
    def _found_substitutions(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
        stack = [node]
        while stack:
            here = stack.pop()
            if here.type in {"command_substitution", "process_substitution"}:
                yield here
            else:
                stack += reversed(here.named_children)

    # -- words -----------------------------------------------------------------------------------------------------

    def _words(self, node: tree_sitter.Node, place: _Place) -> Iterator[Word]:
        start, end = place.text.at(node)
        raw = place.text.of(node)
        content = self._text_of(node, place)
        if node.type in {"simple_expansion", "expansion"} and content is not None:
            # unquoted: the shell splits it, and drops it when nothing is left
            for part in content.split():
                yield Word(raw, part, start, end)
            return
        yield Word(raw, content, start, end)

    def _text_of(self, node: tree_sitter.Node, place: _Place) -> str | None:
        """What a word evaluates to. Concatenations hold strings and strings hold expansions: three levels at most."""
        if node.end_byte - node.start_byte > _MAX_WORD:
            return None
        text = place.text
        match node.type:
            case "word" | "number" | "variable_name" | "file_descriptor" | "heredoc_start" | "regex":
                if any(child.type != "word" for child in node.named_children):
                    return None
                return _tilde(_unescape(text.of(node)), place.scope)
            case "raw_string":
                return text.of(node)[1:-1]
            case "ansi_c_string":
                content = text.of(node)[2:-1]
                return None if "\\" in content else content
            case "string" | "translated_string":
                return self._string(node, place)
            case "simple_expansion" | "expansion":
                return _expand(text.of(node), place.scope, 0)
            case "concatenation":
                return self._concatenation(node, place)
            case "brace_expression":
                return text.of(node)
            case _:
                return None

    def _concatenation(self, node: tree_sitter.Node, place: _Place) -> str | None:
        out: list[str] = []
        for index, child in enumerate(node.children):
            if child.type == "concatenation":
                return None
            part = self._text_of(child, place) if child.is_named else place.text.of(child)
            if part is None:
                return None
            if index and child.type == "word" and part.startswith("~"):
                part = place.text.of(child)
            out.append(part)
        return "".join(out)

    @staticmethod
    def _string(node: tree_sitter.Node, place: _Place) -> str | None:
        out: list[str] = []
        at = node.start_byte + (2 if node.type == "translated_string" else 1)
        for child in node.named_children:
            if child.type == "string_content":
                continue
            if child.type not in {"simple_expansion", "expansion"}:
                return None
            value = _expand(place.text.of(child), place.scope, 0)
            if value is None:
                return None
            out += [_unquote(place.text.between(at, child.start_byte)), value]
            at = child.end_byte
        return "".join([*out, _unquote(place.text.between(at, max(at, node.end_byte - 1)))])


def _tilde(word: str, scope: _Scope) -> str:
    if word == "~" or word.startswith("~/"):
        return (scope.lookup("HOME") or "~") + word[1:]
    return word


def _unescape(word: str) -> str:
    return re.sub(r"\\(\n|.)", lambda match: "" if match[1] == "\n" else match[1], word) if "\\" in word else word


def _unquote(content: str) -> str:
    """Inside double quotes a backslash only escapes ``$``, a backtick, ``"``, itself and the end of a line."""
    return re.sub(r"\\(\n|[$`\"\\])", lambda match: "" if match[1] == "\n" else match[1], content)


_EXPANSION = re.compile(r"\$(?:\{(\w+)(?:(:?[-=+?])((?s:.*)))?\}|(\w+))", re.ASCII)


def _expand(raw: str, scope: _Scope, depth: int) -> str | None:
    match = _EXPANSION.fullmatch(raw)
    if match is None or depth > _MAX_NESTED_DEFAULTS:
        return None
    name = match[1] or match[4]
    if name[0].isdigit():
        return None
    value, known = scope.lookup(name), name in scope.shell
    operator, operand = match[2] or "", match[3] or ""
    if not operator:
        return value
    filled = known and (value != "" or not operator.startswith(":"))
    if operator.endswith("+"):
        return (
            _operand(operand, scope, depth) if filled and value is not None else None if value is None and known else ""
        )
    if filled:
        return value
    return None if operator.endswith("?") else _operand(operand, scope, depth)


def _operand(operand: str, scope: _Scope, depth: int) -> str | None:
    if "`" in operand or "$(" in operand:
        return None
    if operand[:1] in {"'", '"'} and operand[-1:] == operand[:1]:
        operand = operand[1:-1]
    if "$" not in operand:
        return _tilde(operand, scope)
    parts: list[str] = []
    at = 0
    for start, end in _references(operand):
        value = _expand(operand[start:end], scope, depth + 1)
        if value is None:
            return None
        parts += [operand[at:start], value]
        at = end
    return "".join([*parts, operand[at:]])


def _references(text: str) -> Iterator[tuple[int, int]]:
    """Spans of ``$NAME`` and ``${…}`` (braces balanced) in ``text``."""
    at = text.find("$")
    while at >= 0:
        end = at + 1
        if text[end : end + 1] == "{":
            level = 0
            while end < len(text):
                level += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
                if level == 0:
                    break
        else:
            while end < len(text) and (text[end].isalnum() or text[end] == "_"):
                end += 1
        yield at, end
        at = text.find("$", end)


# -- wrappers ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Peel:
    """A command line without its wrappers. ``script`` is the text that a shell runs, if that is all it does."""

    words: list[Word]
    env: dict[str, str | None] = field(default_factory=dict)
    user: str | None = None
    chdir: Word | None = None
    script: Word | None = None


# wrapper -> its options that take a value, and how many operands stand before the command
_WRAPPERS: Mapping[str, tuple[frozenset[str], int]] = {
    "env": (frozenset({"-u", "--unset", "-C", "--chdir"}), 0),
    "sudo": (frozenset({"-u", "-g", "-h", "-p", "-C", "-T", "-r", "-t", "-U", "-D", "-R", "--user", "--group"}), 0),
    "doas": (frozenset({"-u", "-C"}), 0),
    "exec": (frozenset({"-a"}), 0),
    "time": (frozenset({"-f", "-o", "--format", "--output"}), 0),
    "nice": (frozenset({"-n", "--adjustment"}), 0),
    "ionice": (frozenset({"-c", "-n", "--class", "--classdata"}), 0),
    "nohup": (frozenset(), 0),
    "setsid": (frozenset(), 0),
    "command": (frozenset(), 0),
    "builtin": (frozenset(), 0),
    "timeout": (frozenset({"-k", "-s", "--kill-after", "--signal"}), 1),
    "stdbuf": (frozenset({"-i", "-o", "-e"}), 0),
    "eatmydata": (frozenset(), 0),
    "fakeroot": (frozenset(), 0),
    "linux32": (frozenset(), 0),
    "linux64": (frozenset(), 0),
    "setarch": (frozenset(), 1),
    "busybox": (frozenset(), 0),
    "gosu": (frozenset(), 1),
    "su-exec": (frozenset(), 1),
    "setuser": (frozenset(), 1),
    "s6-setuidgid": (frozenset(), 1),
    "runuser": (frozenset({"-u", "-g", "-G", "-s", "--user", "--group", "--shell"}), 0),
    "tini": (frozenset({"-p", "-e"}), 0),
    "dumb-init": (frozenset({"-r"}), 0),
    "xvfb-run": (frozenset({"-n", "-s", "-e", "-f", "-p"}), 0),
}  # fmt: skip
_USER_FIRST = frozenset({"gosu", "su-exec", "setuser", "s6-setuidgid"})
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL | re.ASCII)


_OPTIONAL = re.compile(r"\$\{\w+:?\+", re.ASCII)


def _peel(words: Sequence[Word]) -> _Peel:
    peel = _Peel(list(words))
    # `${X:+env X="$X"} cmd`: whatever becomes of it, the command is what follows
    while len(peel.words) > 1 and peel.words[0].text is None and _OPTIONAL.match(peel.words[0].raw):
        del peel.words[0]
    for _ in range(12):
        first = peel.words[0].text if peel.words else None
        name = posixpath.basename(first) if first else ""
        if name in _SHELLS or name == "eval":
            peel.script = _script_of(name, peel.words)
            return peel
        if name == "su" or (name == "runuser" and any(word.text in {"-c", "--command"} for word in peel.words)):
            _peel_su(peel)
            return peel
        if name not in _WRAPPERS or not _peel_one(peel, name):
            return peel
    return peel


def _peel_one(peel: _Peel, name: str) -> bool:
    """Drop one wrapper; false when what follows it cannot be told."""
    valued, operands = _WRAPPERS[name]
    rest = peel.words[1:]
    at = 0
    user: Word | None = None
    while at < len(rest):
        text = rest[at].text
        if text is None:
            break
        assigned = _ASSIGNMENT.fullmatch(text) if name in {"env", "sudo", "doas"} else None
        if text == "--":
            at += 1
            break
        if name == "command" and text in {"-v", "-V"}:
            return False
        if text.startswith("-") and len(text) > 1:
            flag, _, value = text.partition("=")
            takes = flag in valued and not value
            operand = rest[at + 1] if takes and at + 1 < len(rest) else None
            if flag in {"-u", "--user"} and name in {"sudo", "doas", "runuser"}:
                user = operand
            if flag in {"-C", "--chdir"} and name == "env":
                peel.chdir = operand
            at += 2 if takes else 1
        elif assigned is not None:
            peel.env[assigned[1]] = assigned[2]
            at += 1
        else:
            break
    # `env A="$X" cmd`: an assignment whose value is not known is still an assignment
    while name in {"env", "sudo"} and at < len(rest) and rest[at].text is None and _ASSIGNMENT.match(rest[at].raw):
        peel.env[rest[at].raw.partition("=")[0]] = None
        at += 1
        while at < len(rest) and (found := _ASSIGNMENT.fullmatch(rest[at].text or "")) is not None:
            peel.env[found[1]] = found[2]
            at += 1
    if name in _USER_FIRST and at < len(rest):
        user = rest[at]
    at += operands
    if at >= len(rest):
        return False
    if name in {"sudo", "doas"} and user is None:
        peel.user = "root"
    if user is not None:
        peel.user = (user.text or "").partition(":")[0] or "?"
    peel.words = rest[at:]
    return True


def _peel_su(peel: _Peel) -> None:
    """``su [-] [user] -c '…'``: the script runs as that user."""
    user = "root"
    script: Word | None = None
    at = 1
    while at < len(peel.words):
        word = peel.words[at]
        if word.text in {"-c", "--command", "-lc"}:
            script = peel.words[at + 1] if at + 1 < len(peel.words) else None
            at += 2
        elif word.text in {"-s", "--shell", "-g", "-G"}:
            at += 2
        else:
            if word.text is None or not word.text.startswith("-"):
                user = word.text or "?"
            at += 1
    peel.user = user
    peel.script = script


def _script_of(name: str, words: Sequence[Word]) -> Word | None:
    """The text behind ``-c``, or behind ``eval`` when it is one word."""
    if name == "eval":
        return words[1] if len(words) == 2 else None
    at = 1
    wanted = False
    while at < len(words):
        text = words[at].text
        if text is None or not text.startswith(("-", "+")) or text in {"-", "--"}:
            break
        cluster = text[1:] if not text.startswith("--") else ""
        wanted = wanted or ("c" in cluster and text.startswith("-"))
        at += 2 if cluster.endswith(("o", "O")) or text in {"--rcfile", "--init-file"} else 1
    return words[at] if wanted and at < len(words) else None


def without(source: str, cuts: Sequence[tuple[int, int]]) -> str:
    """``source`` with the given ranges removed; they must be sorted and must not overlap."""
    assert all(a[1] <= b[0] for a, b in pairwise(cuts))
    kept: list[str] = []
    at = 0
    for start, end in cuts:
        kept.append(source[at:start])
        at = end
    return "".join([*kept, source[at:]])
