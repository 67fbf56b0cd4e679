"""The state directory: an unfinished session, and what ``coach undo`` needs, per repository."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from coach import repo, state
from coach.errors import CoachError, UsageError
from coach.state import Saved


class Memory:
    """What coach remembers about the repository at ``root``, under ``$XDG_STATE_HOME/coach``.

    Losing it is never fatal: a directory that cannot be written is reported by a false return.
    """

    def __init__(self, root: Path) -> None:
        home = os.environ.get("XDG_STATE_HOME") or ""
        base = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state"
        self.root = Path(os.path.realpath(root))
        self.folder = base / "coach"
        name = state.digest(os.fsencode(self.root))[:32]
        self._session, self._journal = f"session-{name}.json", f"undo-{name}.json"

    def _read(self, name: str) -> bytes | None:
        try:
            return repo.read_if_there(self.folder, name)
        except CoachError:
            return None

    def _write(self, name: str, content: bytes | None) -> bool:
        try:
            # the journal holds files as they were, secrets and all, so nobody else may look into it
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            repo.write_files(self.folder, {name: content}, private=True)
        except (OSError, CoachError):
            return False
        return True

    def session(self, chart: str) -> Saved | None:
        """The unfinished session over this chart (named by its digest)."""
        content = self._read(self._session)
        return state.load_session(content, chart) if content is not None else None

    def save_session(self, saved: Saved) -> bool:
        """Remember ``saved`` in place of any other session over this repository."""
        return self._write(self._session, state.save_session(saved))

    def forget_session(self) -> bool:
        """The session is over."""
        return self._write(self._session, None)

    def write(self, files: Mapping[str, tuple[bytes | None, bytes]]) -> bool:
        """Write ``(before, after)`` files into the repository; whether ``undo`` will be able to take them back.

        Raises ``UsageError`` when a file is no longer what ``before`` says, ``InputError`` when one cannot be written.
        """
        for path, (before, _) in files.items():
            if repo.read_if_there(self.root, path) != before:
                raise UsageError("was changed while coach was running; nothing was written", path)
        journal = state.load_journal(self._read(self._journal))
        kept = self._write(self._journal, state.save_journal([*journal, state.record(files)]))
        repo.write_files(self.root, {path: after for path, (_, after) in files.items()})
        return kept

    def undo(self) -> tuple[str, ...]:
        """Take the last applied fix back; the paths restored. Raises ``UsageError`` when that would lose work."""
        journal = state.load_journal(self._read(self._journal))
        if not journal:
            raise UsageError("nothing to undo in this repository")
        entry = journal[-1]
        now = {change.path: repo.read_if_there(self.root, change.path) for change in entry}
        repo.write_files(self.root, state.undo(entry, now))
        self._write(self._journal, state.save_journal(journal[:-1]))
        return tuple(change.path for change in entry)
