"""How places and targets are named, alike in every output that people read."""

from __future__ import annotations

from coach.model import Diagnosis, Evidence


def place(cited: Evidence) -> str:
    """``path:line`` or ``path:line-end``."""
    lines = str(cited.line) if cited.end_line == cited.line else f"{cited.line}-{cited.end_line}"
    return f"{cited.path}:{lines}"


def named(dockerfile: str, context: str, target: str | None) -> str:
    """One target in a few words: ``Dockerfile (context ., target build)``."""
    stage = f", target {target}" if target else ""
    return f"{dockerfile} (context {context or '.'}{stage})"


def target_name(diagnosis: Diagnosis) -> str:
    """The target of a diagnosis in a few words."""
    return named(diagnosis.dockerfile, diagnosis.context, diagnosis.target)
