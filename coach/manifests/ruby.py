"""Bundler: a Gemfile is a Ruby program, of which the static statements are read.

Statements: https://bundler.io/man/gemfile.5.html
"""

from __future__ import annotations

import re

from coach.manifests.files import at, join, parent, upwards
from coach.manifests.gather import Closure, Gather, Request, shown, values

MANAGERS = frozenset(("bundler", "bundle"))

_MOST_FILES = 100
_STRING = r"""['"]([^'"\n]{1,300})['"]"""
_PATH = re.compile(rf"""(?:\bpath\s{{0,4}}:\s{{0,4}}|:path\s{{0,4}}=>\s{{0,4}}|^\s*path\s+\(?){_STRING}""")
_EVALUATED = re.compile(
    rf"""\beval_gemfile\b[\s(]{{0,4}}(?:File\.\w+\(\s{{0,4}}(?:['"]\.\.['"]\s*,\s*)?__(?:dir|FILE)__\s{{0,4}},\s{{0,4}})?{_STRING}"""
)
_READ = re.compile(
    rf"""\bFile\.(?:read|readlines|open|foreach)[\s(]{{1,4}}(?:File\.\w+\(\s{{0,4}}__dir__\s{{0,4}},\s{{0,4}})?{_STRING}"""
)
_RUBY_FILE = re.compile(rf"^\s*ruby\b.{{0,40}}\bfile:\s{{0,4}}{_STRING}", re.M)
_REQUIRED = re.compile(rf"\brequire_relative\b[\s(]{{1,4}}{_STRING}")
_LIB_REQUIRED = re.compile(rf"^\s*require\b[\s(]{{1,4}}{_STRING}", re.M)
_SOURCE_READ = re.compile(r"git ls-files|\bDir\s{0,2}(?:\.glob|\[)|\bGlob")


def closure(request: Request) -> Closure | None:
    """The closure of ``bundle install`` and its like; raises nothing."""
    gather = Gather(request)
    named = values(request.words, "--gemfile")
    path: str | None = None
    if named:
        path = gather.locate(named[0])
    else:
        for above in upwards(request.directory, gather.context):
            path = next((at(above, name) for name in ("Gemfile", "gems.rb") if gather.has(at(above, name))), None)
            if path is not None:
                break
    if path is None or not gather.add(path):
        return None
    directory = parent(path)
    lock = at(directory, "gems.locked") if path.endswith("gems.rb") else f"{path}.lock"
    gather.add(lock)
    gather.add(at(directory, ".bundle/config"))
    gather.add_dir(at(directory, "vendor/cache"))
    _gemfile(gather, path)
    if None in request.words:
        gather.doubt("a word of the command is not known before it runs")
    return gather.closure(lock if gather.has(lock) else None)


def _gemfile(gather: Gather, path: str) -> None:
    todo, seen = [path], set[str]()
    while todo and len(seen) < _MOST_FILES:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        directory = parent(path)
        text = _code(gather.text(path) or "")
        for match in _RUBY_FILE.finditer(text):
            gather.add(join(directory, match[1]))
        if re.search(r"\.ruby-version|\.tool-versions", text):
            gather.add_all(directory, (".ruby-version", ".tool-versions"))
        for match in _EVALUATED.finditer(text):
            target = join(directory, match[1])
            if target is not None and gather.add(target):
                todo.append(target)
            else:
                gather.doubt(f"`{shown(match[1])}` cannot be followed", path, _line(text, match.start()))
        for match in _READ.finditer(text):
            gather.add(join(directory, match[1]))
        for number, line in enumerate(text.splitlines(), 1):
            found = _PATH.search(line)
            if found:
                _path_gem(gather, directory, path, number, found[1])
            elif re.match(r"\s*gemspec\b", line):
                _gemspecs(gather, directory, path, number)
            elif re.search(r"\bDir\s{0,2}(?:\.glob|\[)|`", line):
                gather.doubt("the Gemfile looks for files by a pattern or runs a program", path, number)


def _path_gem(gather: Gather, directory: str, path: str, number: int, relative: str) -> None:
    target = join(directory, relative)
    if target == directory:
        _gemspecs(gather, directory, path, number)
    elif "#{" in relative:
        gather.doubt("the path of a gem is computed", path, number)
    else:
        gather.need(directory, relative, path, number)


def _gemspecs(gather: Gather, directory: str, path: str, number: int) -> None:
    found = [at(directory, name) for name in gather.children(directory) if name.endswith(".gemspec")]
    if not found:
        gather.doubt("`gemspec` is stated, and none is there", path, number)
    for spec in found:
        gather.add(spec)
        text = _code(gather.text(spec) or "")
        for match in _REQUIRED.finditer(text):
            name = match[1] if match[1].endswith(".rb") else f"{match[1]}.rb"
            if not gather.add(join(directory, name)):
                gather.doubt(f"`{shown(match[1])}` is not in the repository", spec, 1)
        for match in _LIB_REQUIRED.finditer(text):
            gather.add(join(directory, f"lib/{match[1]}.rb"))
        for match in _READ.finditer(text):
            gather.add(join(directory, match[1]))
        if _SOURCE_READ.search(text):
            gather.doubt("the gemspec lists the project's files, which matters only if it names executables", spec, 1)


def _code(text: str) -> str:
    return "\n".join("" if line.lstrip().startswith("#") else line for line in text.splitlines())


def _line(text: str, at_: int) -> int:
    return text.count("\n", 0, at_) + 1
