"""Tilt: ``docker_build`` calls of a Tiltfile whose arguments are written out.

Language: docs.tilt.dev/api.html#api.docker_build (read 2026-11). Starlark is a subset of Python's syntax; nothing is
run: what a call computes is unknown, with that reason.
"""

from __future__ import annotations

import ast
import posixpath
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace

from coach.ci import docker_cli
from coach.ci.docker_cli import Arg
from coach.ci.machine import Machine
from coach.ci.nouns import MAX_SCRIPT, Discovery, Value, static
from coach.errors import InputError
from coach.model import BuildSite, Skipped, Tree, Unresolved, is_file

_NAME = re.compile(r"(^|/)(Tiltfile([._-][\w.-]*)?|[\w.-]+\.tiltfile)$", re.I)
_COMPUTED = "the Tiltfile computes it"
_ORDER = ("ref", "context", "build_args", "dockerfile", "dockerfile_contents")


def read(tree: Tree) -> Discovery:
    """Every ``docker_build`` of every Tiltfile."""
    builds: list[BuildSite] = []
    skipped: list[Skipped] = []
    for path in list(tree.entries()):
        if not _NAME.search(path) or not is_file(tree, path):
            continue
        try:
            content = tree.read(path)
        except InputError as error:
            skipped.append(Skipped(path, error.line, error.says))
            continue
        if len(content) > MAX_SCRIPT:
            skipped.append(Skipped(path, 0, "a Tiltfile of more than 256 kB is not read"))
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                parsed = ast.parse(content.decode("utf-8", "replace"))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            skipped.append(Skipped(path, getattr(error, "lineno", 0) or 0, "not Starlark that can be read"))
            continue
        builds += _sites(tree, path, parsed)
    return Discovery(tuple(builds), tuple(skipped))


def _sites(tree: Tree, path: str, parsed: ast.Module) -> list[BuildSite]:
    names = _constants(parsed)
    box = Machine(tree, "tilt", path, "", ci=False)
    for node in sorted(_calls(parsed), key=lambda call: call.lineno):
        given = dict(zip(_ORDER, node.args, strict=False))
        given |= {word.arg: word.value for word in node.keywords if word.arg is not None}
        given = {key: value for key, value in given.items() if not _empty(value)}
        inline = given.get("dockerfile_contents")
        # a call that is handed on by a function, or unpacks a list, may say anything
        hidden = any(isinstance(arg, ast.Starred) for arg in node.args) or any(
            word.arg is None for word in node.keywords
        )
        words = list(_words(given, names, node))
        argv = [Arg(value, value.shown, number, number) for number, (value, _) in enumerate(words)]
        call = docker_cli.read(argv)
        if call is None:
            continue
        lines = {number: line for number, (_, line) in enumerate(words)}
        made = len(box.sites)
        box.take(call, {}, posixpath.dirname(path), path, node.lineno, node.end_lineno or node.lineno, lines)
        job = _text(given.get("ref"), names)
        for index in range(made, len(box.sites)):
            site = replace(box.sites[index], job=job.text or "image")
            if inline is not None or hidden:
                why = "the Dockerfile is written inline in the Tiltfile" if inline is not None else _COMPUTED
                note = Unresolved("dockerfile", why, node.lineno)
                site = replace(site, dockerfile=None, unresolved=(*site.unresolved, note))
            box.sites[index] = site
    return box.finish()


def _calls(parsed: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(parsed):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "docker_build":
            yield node


def _constants(parsed: ast.Module) -> dict[str, str]:
    """Names that the file gives one text and never another."""
    found: dict[str, str] = {}
    lost: set[str] = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            if node.id in found:
                lost.add(node.id)
            found.setdefault(node.id, "")
        elif isinstance(node, ast.arg):
            lost.add(node.arg)
    plain = {
        target.id: node.value.value
        for node in parsed.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return {name: text for name, text in plain.items() if name not in lost}


def _empty(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in ("", None)


def _text(node: ast.expr | None, names: dict[str, str], depth: int = 0) -> Value:
    """A text that is written out, or put together of such."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return static(node.value)
    if isinstance(node, ast.Name) and node.id in names:
        return static(names[node.id])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and depth < 20:
        left, right = _text(node.left, names, depth + 1), _text(node.right, names, depth + 1)
        if left.text is not None and right.text is not None:
            return static(left.text + right.text)
    return Value(None, "", _COMPUTED)


def _words(given: dict[str, ast.expr], names: dict[str, str], call: ast.Call) -> Iterator[tuple[Value, int]]:
    """The ``docker build`` that a call stands for."""
    yield static("docker"), call.lineno
    yield static("build"), call.lineno
    for key, option in (("dockerfile", "file"), ("target", "target"), ("platform", "platform"), ("ref", "tag")):
        if key in given:
            yield _option(option, _text(given[key], names)), given[key].lineno
    for key, option in (("cache_from", "cache-from"), ("secret", "secret")):
        value = given.get(key)
        for item in value.elts if isinstance(value, ast.List | ast.Tuple) else [value] if value is not None else []:
            yield _option(option, _text(item, names)), item.lineno
    args = given.get("build_args")
    for name, item in zip(args.keys, args.values, strict=True) if isinstance(args, ast.Dict) else ():
        shown = _text(name, names).text
        if shown:
            filled = _text(item, names)
            text = f"{shown}={filled.text}" if filled.text is not None else None
            yield _option("build-arg", replace(filled, text=text, shown=f"{shown}={filled.shown}")), item.lineno
    context = given.get("context")
    yield (_text(context, names) if context is not None else static(".")), call.lineno


def _option(name: str, value: Value) -> Value:
    text = f"--{name}={value.text}" if value.text is not None else None
    return replace(value, text=text, shown=f"--{name}={value.shown}")
