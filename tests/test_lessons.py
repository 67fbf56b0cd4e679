"""Lessons are found by their file, and an incomplete one is refused."""

from __future__ import annotations

import pkgutil
import sys
from types import ModuleType

import pytest

from coach import lessons


def test_every_module_of_the_package_is_a_lesson_in_the_order_of_its_fix() -> None:
    found = lessons.discover()

    assert {lesson.NODE for lesson in found} == {item.name for item in pkgutil.iter_modules(lessons.__path__)}
    assert [int(lesson.FIX[1:]) for lesson in found] == sorted({int(lesson.FIX[1:]) for lesson in found})


def module(**parts: object) -> ModuleType:
    made = ModuleType("coach.lessons.made_up")
    whole: dict[str, object] = {
        "NODE": "made_up",
        "FIX": "F99",
        "SECTION": "a",
        "ANTI_PATTERN": "b",
        "probe": len,
        "remedy": len,
    }
    for name, value in {**whole, **parts}.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"NODE": None}, "lesson made_up has no NODE"),
        ({"NODE": "other"}, "bound to 'other'"),
        ({"FIX": "next"}, "the FIX 'next'"),
        ({"probe": None}, "has no probe()"),
    ],
)
def test_an_incomplete_lesson_is_refused(parts: dict[str, object], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coach.lessons.made_up", module(**parts))

    with pytest.raises(TypeError, match=says.replace("(", r"\(").replace(")", r"\)")):
        lessons.check("made_up")


def test_a_complete_lesson_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coach.lessons.made_up", module())

    assert lessons.check("made_up").FIX == "F99"
