"""Errors that end a run with one clear line."""

from __future__ import annotations


class CoachError(Exception):
    """Something the user can act on: which file, which line, what is wrong with it.

    ``path`` is relative to the repository ("" when no file is concerned), ``line`` is 1-based
    (0 when no line is concerned), ``says`` is one sentence without a final newline. The message
    never holds file content beyond a name, so a secret cannot leave through an error.
    """

    def __init__(self, says: str, path: str = "", line: int = 0) -> None:
        self.says = says
        self.path = path
        self.line = line
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}: " if self.path and self.line else f"{self.path}: " if self.path else ""
        return f"{place}{self.says}"


class InputError(CoachError):
    """A file of the repository cannot be read or is not what its name claims."""


class UsageError(CoachError):
    """The command line, an ``--answer`` or a configuration file asks for something that does not exist."""


class ChartError(CoachError):
    """A flowchart that Mermaid refuses, or one that cannot be walked."""


class SkillError(CoachError):
    """A SKILL.md that has no chart, or whose parts do not fit together."""


class EditError(CoachError):
    """Edits that overlap, or that do not fit the bytes they were made for."""
