"""Runs over a script as a shell would, without running anything."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING

from coach.shell.nouns import NOTHING, Command, Item, Redirect, Script, Word
from coach.shell.scope import Fork, Scope, expand, tilde, unescape, unquote
from coach.shell.syntax import Leaf, Text, items_of, leaves_of, statements_of
from coach.shell.wrappers import SHELLS, peel

if TYPE_CHECKING:
    import tree_sitter


# Beyond these the parser's error recovery turns quadratic in time or memory (measured with tree-sitter 0.26).
MAX_LENGTH = 256 * 1024
MAX_OPERATORS = 2000
MAX_COMMANDS = 400
_MAX_NESTED_SCRIPTS = 4
_MAX_WORD = 64 * 1024
_NAME = re.compile(r"[A-Za-z_]\w*")


def parse(source: str, env: Mapping[str, str | None] = NOTHING, cwd: str | None = None) -> Script:
    """Commands of a POSIX or bash script, in the order they are written. Never raises.

    ``env`` is what is exported when the script starts: a value of ``None`` exists but is unknown. A variable that is
    not in ``env`` counts as unknown too, since a base image may bring it along.
    """
    if len(source) > MAX_LENGTH or any(source.count(sign) > MAX_OPERATORS for sign in "|<([{`") or "\0" in source:
        return Script(source, (), (), True)
    walk = _Walk()
    scope = Scope(dict(env), dict(env), cwd)
    text = Text(source)
    root = text.root()
    items = list(islice(items_of(text, root), MAX_COMMANDS))
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
    scope = Scope(dict(env), dict(env), cwd)
    if words and sum(map(len, argv)) <= MAX_LENGTH:
        place = _Place(Text(source, exact=False), scope, False, 0, None)
        walk.command(place, words, [], [], 0, len(source))
        walk.run()
    commands = tuple(replace(command, exact=False, cut=None) for command in walk.commands)
    return Script(source, commands, (Item(0, len(source), ""),) if words else (), walk.cut_short)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node of the tree is met: everything about a command that its own node does not say."""

    text: Text
    scope: Scope
    guarded: bool
    item: int
    cut: tuple[int, int] | None
    redirects: tuple[Redirect, ...] = ()


_SEPARATORS = frozenset({";", "&", ";;", "\n", "comment", "{", "}", "(", ")", "do", "done", "then", "fi", "in", "esac"})
_TESTS = frozenset({"test", "[", "grep", "which", "type", "hash", "id", "getent", "command", "cmp", "diff"})
_HARMLESS = frozenset({"true", ":", "echo", "/bin/true"})


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
        text: Text,
        node: tree_sitter.Node,
        scope: Scope,
        guarded: bool,
        item: int | None,
    ) -> None:
        self._push_sequence(text, statements_of(node), scope, guarded, item)

    def _push_sequence(
        self,
        text: Text,
        statements: Sequence[tree_sitter.Node],
        scope: Scope,
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
            leaves = leaves_of(statement)
            tasks += self._list(text, leaves, before, after, scope, guarded, number if item is None else item, item)
            number += len(leaves)
        self._later(tasks)

    def _list(
        self,
        text: Text,
        leaves: Sequence[Leaf],
        before: tree_sitter.Node | None,
        after: tree_sitter.Node | None,
        scope: Scope,
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

    def _leaf_visitor(self, leaf: Leaf, place: _Place) -> Callable[[], None]:
        return lambda: self._with_redirects(leaf.node, leaf.redirects, place)

    def _maybe(self, scope: Scope, task: Callable[[], None]) -> list[Callable[[], None]]:
        box: list[Fork] = []
        return [lambda: box.append(Fork.at(scope)), task, lambda: box[0].join()]

    @staticmethod
    def _is_test(text: Text, node: tree_sitter.Node) -> bool:
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
        text: Text,
        leaves: Sequence[Leaf],
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
                leaves = leaves_of(node)
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
        fork = Fork.at(place.scope)
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
        if any(word.raw.endswith("$") for word in words):
            words = self._rejoined(words, place)
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
        left = peel(words)
        env = {**scope.env, **{name: value.text for name, value in assignments}, **left.env}
        user = left.user or scope.user
        if user != scope.user and "HOME" in env:
            env["HOME"] = None
        cwd = scope.cwd
        if left.chdir is not None:
            moved = scope.child()
            moved.enter(left.chdir.text)
            cwd = moved.cwd
        texts = tuple(word.text for word in left.words)
        first = texts[0] if texts else None
        name = posixpath.basename(first) if first else None
        recorded = Command(
            tuple(words), tuple(assignments), start, end, tuple(redirects), cwd, MappingProxyType(env),
            place.guarded, place.item, name, texts, place.cut, user, place.text.exact and place.text.clamp is None,
        )  # fmt: skip
        script = left.script
        if script is None and name in SHELLS and len(texts) == 1:
            script = next(
                (redirect.target for redirect in redirects if redirect.operator in {"<<", "<<-", "<<<"}), None
            )
        if script is not None and script.text is not None and place.text.depth < _MAX_NESTED_SCRIPTS:
            inside = Scope(dict(env), dict(env), cwd, user=user)
            self._nested(script, script.text, place, scope if name == "eval" else inside)
            return
        self.commands.append(recorded)
        self._effect(name, texts, scope)

    @staticmethod
    def _effect(name: str | None, texts: Sequence[str | None], scope: Scope) -> None:
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

    def _nested(self, word: Word, source: str, place: _Place, scope: Scope) -> None:
        shift, exact, clamp = 0, False, (word.start, word.end)
        inner = word.raw[1:-1] if word.raw[:1] in {"'", '"'} and word.raw[-1:] == word.raw[:1] else word.raw
        if place.text.exact and place.text.clamp is None and inner == source:
            shift, exact = word.start + (inner is not word.raw), True
        if source == "" or len(source) > MAX_LENGTH:
            return
        text = Text(source, shift, exact, None if exact else clamp, place.text.depth + 1)
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

    @staticmethod
    def _rejoined(words: Sequence[Word], place: _Place) -> list[Word]:
        """``words`` with what the grammar tears apart put together: ``$A:$B,c=d`` comes as ``$A:$`` and ``B,c=d``."""
        found: list[Word] = []
        for word in words:
            last = found[-1] if found else None
            name = _NAME.match(word.raw)
            if last is None or name is None or not last.raw.endswith("$") or last.end != word.start:
                found.append(word)
                continue
            value = expand(f"${name[0]}", place.scope, 0)
            if value is None or last.text is None or word.text is None:
                text = None
            else:
                text = f"{last.text[:-1]}{value}{word.text[name.end() :]}"
            found[-1] = Word(last.raw + word.raw, text, last.start, word.end)
        return found

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
                return tilde(unescape(text.of(node)), place.scope)
            case "raw_string":
                return text.of(node)[1:-1]
            case "ansi_c_string":
                content = text.of(node)[2:-1]
                return None if "\\" in content else content
            case "string" | "translated_string":
                return self._string(node, place)
            case "simple_expansion" | "expansion":
                return expand(text.of(node), place.scope, 0)
            case "concatenation":
                return self._concatenation(node, place)
            case "brace_expression":
                return text.of(node)
            case _:
                return None

    def _concatenation(self, node: tree_sitter.Node, place: _Place) -> str | None:
        out: list[str] = []
        length = 0
        for index, child in enumerate(node.children):
            if child.type == "concatenation":
                return None
            part = self._text_of(child, place) if child.is_named else place.text.of(child)
            if part is None:
                return None
            if index and child.type == "word" and part.startswith("~"):
                part = place.text.of(child)
            out.append(part)
            length += len(part)
            if length > _MAX_WORD:
                return None
        return "".join(out)

    @staticmethod
    def _string(node: tree_sitter.Node, place: _Place) -> str | None:
        out: list[str] = []
        length = 0
        at = node.start_byte + (2 if node.type == "translated_string" else 1)
        for child in node.named_children:
            if child.type == "string_content":
                continue
            if child.type not in {"simple_expansion", "expansion"}:
                return None
            value = expand(place.text.of(child), place.scope, 0)
            length += len(value or "")
            if value is None or length > _MAX_WORD:
                return None
            out += [unquote(place.text.between(at, child.start_byte)), value]
            at = child.end_byte
        return "".join([*out, unquote(place.text.between(at, max(at, node.end_byte - 1)))])
