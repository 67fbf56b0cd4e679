"""``.coach.toml``, or ``[tool.coach]`` in pyproject.toml: answers and exclusions that travel with the repository.

exclude = ["examples/**"]              # Dockerfiles to leave out, as glob patterns
[answers]                              # for every Dockerfile
signing = "no"
[dockerfile."services/api/Dockerfile".answers]
runtime_image = "no"
[dockerfile."legacy/Dockerfile"]
exclude = true
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from coach.errors import UsageError
from coach.model import Tree, is_file

FILES = (".coach.toml", "pyproject.toml")
Check = Callable[[str, str], str]
"""``(node, choice)`` → the chart's spelling of the choice; raises ``UsageError``."""


@dataclass(frozen=True, slots=True)
class Config:
    """What the file says. ``path`` is "" when there is none; ``lines`` maps an excluding word to its line."""

    path: str = ""
    exclude: tuple[str, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    by_dockerfile: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)

    def excludes(self, dockerfile: str) -> str | None:
        """The pattern that leaves ``dockerfile`` out, or ``None``."""
        return next((pattern for pattern in self.exclude if _matches(dockerfile, pattern)), None)

    def answers_for(self, dockerfile: str) -> dict[str, str]:
        """Node → choice; what is said of one Dockerfile beats what is said of all."""
        return {**self.answers, **self.by_dockerfile.get(dockerfile, {})}


def _matches(path: str, pattern: str) -> bool:
    """Glob match in which a folder's name, or ``folder/**``, means everything in it."""
    pattern = pattern.removeprefix("./").rstrip("/")
    folder = pattern.removesuffix("/**")
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, f"{folder}/*")


def load(tree: Tree, check: Check) -> Config:
    """The configuration of ``tree``; ``.coach.toml`` wins over pyproject.toml.

    Raises ``UsageError`` with file and line for anything that is not understood, so a typo never passes unseen.
    """
    for path in FILES:
        if not is_file(tree, path):
            continue
        content = tree.read(path)
        if path == "pyproject.toml" and b"coach" not in content:
            continue
        reader = _Reader(path, content)
        table = reader.table()
        if table is not None:
            return reader.config(table, check)
    return Config()


class _Reader:
    """One file: its parsed table, and the lines its keys stand on."""

    def __init__(self, path: str, content: bytes) -> None:
        self.path = path
        self.text = content.decode("utf-8", "replace")
        try:
            self.top = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            says = re.sub(r" \(at [^)]*\)$", "", str(error)) or "not TOML"
            raise UsageError(f"not valid TOML: {says}", path, int(line[1]) if line else 0) from None
        except RecursionError:
            raise UsageError("nested too deeply", path) from None

    def table(self) -> dict[str, Any] | None:
        tool = self.top.get("tool")
        found = tool.get("coach") if isinstance(tool, dict) else None
        if found is None:
            found = self.top if self.path == ".coach.toml" else None
        if found is not None and not isinstance(found, dict):
            raise self.wrong("tool.coach must be a table", "coach")
        return found

    def wrong(self, says: str, key: str) -> UsageError:
        return UsageError(says, self.path, self.line(key))

    def line(self, key: str) -> int:
        """First line on which ``key`` stands as a key or in a heading (TOML's reader gives no marks)."""
        quoted = rf"(?<![\w-])[\"']?{re.escape(key)}[\"']?(?![\w-])"
        for wanted in (rf"^\s*{quoted}\s*[=.]", rf"^\s*\[.*{quoted}", quoted):
            for number, row in enumerate(self.text.split("\n"), 1):
                if re.search(wanted, row[:1000]):
                    return number
        return 0

    def config(self, table: dict[str, Any], check: Check) -> Config:
        self._known(table, ("exclude", "answers", "dockerfile"))
        exclude = table.get("exclude", [])
        if not isinstance(exclude, list) or not all(isinstance(item, str) for item in exclude):
            raise self.wrong("exclude must be a list of glob patterns", "exclude")
        lines = {pattern: self.line("exclude") for pattern in exclude}
        files = self._table(table, "dockerfile")
        by_dockerfile: dict[str, dict[str, str]] = {}
        for name in files:
            entry = self._table(files, name)
            path = name.removeprefix("./")
            self._known(entry, ("exclude", "answers"))
            if not isinstance(entry.get("exclude", False), bool):
                raise self.wrong(f"exclude of {name} must be true or false", name)
            if entry.get("exclude"):
                exclude = [*exclude, path]
                lines[path] = self.line(name)
            by_dockerfile[path] = self._answers(self._table(entry, "answers"), check)
        answers = self._answers(self._table(table, "answers"), check)
        return Config(self.path, tuple(exclude), answers, by_dockerfile, lines)

    def _known(self, table: Mapping[str, Any], names: tuple[str, ...]) -> None:
        for key in table:
            if key not in names:
                raise self.wrong(f"unknown key {key!r}; known here: {', '.join(names)}", key)

    def _table(self, table: Mapping[str, Any], key: str) -> dict[str, Any]:
        found = table.get(key, {})
        if not isinstance(found, dict):
            raise self.wrong(f"{key} must be a table", key)
        return found

    def _answers(self, table: Mapping[str, Any], check: Check) -> dict[str, str]:
        found = {}
        for node, choice in table.items():
            if isinstance(choice, bool):
                choice = "yes" if choice else "no"
            if not isinstance(choice, str):
                raise self.wrong(f"the answer of {node} must be a string", node)
            try:
                found[node] = check(node, choice)
            except UsageError as error:
                raise self.wrong(error.says, node) from None
        return found
