"""Lessons: one module per decision of the chart. They are found, not registered.

A lesson binds itself to the chart and to the skill by exact text (``NODE``, ``FIX``, ``SECTION``, ``ANTI_PATTERN``),
answers its decision with ``probe`` and proposes a change with ``remedy``. It holds no advice and imports no other
lesson. To add one, put ``<node>.py`` into this folder.
"""

from __future__ import annotations

import pkgutil
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from coach.model import Answer, Remedy
    from coach.site import Site


class Lesson(Protocol):
    """What every module of this package offers.

    ``NODE`` is a decision of the chart, ``FIX`` the code it leads to, ``SECTION`` and ``ANTI_PATTERN`` exact headings
    of SKILL.md. ``probe`` and ``remedy`` are pure, and raise nothing for a site that could be built.
    """

    NODE: str
    FIX: str
    SECTION: str
    ANTI_PATTERN: str

    def probe(self, site: Site, /) -> Answer:
        """The answer to ``NODE``, with its evidence, or unknown with its reason."""
        ...

    def remedy(self, site: Site, answer: Answer, /) -> Remedy | None:
        """What would change the answer; ``None`` only when there is nothing to say."""
        ...


@lru_cache(maxsize=1)
def discover() -> tuple[Lesson, ...]:
    """Every lesson of this package in the order of its FIX number. Raises ``TypeError`` naming an incomplete one."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_"))
    lessons = [check(name) for name in names]
    return tuple(sorted(lessons, key=lambda lesson: int(lesson.FIX.removeprefix("F"))))


def check(name: str) -> Lesson:
    """The lesson in the module ``name`` of this package. Raises ``TypeError`` saying what it lacks."""
    module = import_module(f"{__name__}.{name}")
    for constant in ("NODE", "FIX", "SECTION", "ANTI_PATTERN"):
        if not isinstance(getattr(module, constant, None), str):
            raise TypeError(f"lesson {name} has no {constant}")
    for function in ("probe", "remedy"):
        if not callable(getattr(module, function, None)):
            raise TypeError(f"lesson {name} has no {function}()")
    lesson = cast(Lesson, module)
    if name != lesson.NODE:
        raise TypeError(f"lesson {name} is bound to {lesson.NODE!r}, but a lesson's file is named after its node")
    if not lesson.FIX.removeprefix("F").isdigit():
        raise TypeError(f"lesson {name} has the FIX {lesson.FIX!r}, which is no F with a number")
    return lesson
