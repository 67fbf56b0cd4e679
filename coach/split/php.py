"""PHP: no smaller image runs the same extensions, so the stage stays one, without what only development needs."""

from __future__ import annotations

from coach.model import Edit, Span
from coach.shipped import Shipped, dev_installs
from coach.split.draft import CannotSplitError, Split

_VERBS = frozenset({"install", "i"})


def php(shipped: Shipped) -> Split:
    """Composer's packages without those for development, installed where they are installed today."""
    made = Split(says="The packages that only development needs are no longer installed.")
    for dev in dev_installs(shipped):
        step, run = dev.step, dev.run
        if dev.through is not None or step.manager != "composer":
            continue
        word = next((word for word in step.command.peeled if word.text in _VERBS), None)
        if word is None or step.via or not step.command.exact:
            raise CannotSplitError(f"line {run.line} installs development dependencies, and how to leave them out")
        at = run.offset(word.end - 1) + 1
        made.edits.append(Edit(shipped.site.path, Span(at, at), b" --no-dev"))
    if not made.edits:
        raise CannotSplitError("no smaller image is known that runs the same extensions")
    made.reasons.append("`--no-dev`: the program, and tests that run in this image, lose what `require-dev` names")
    return made
