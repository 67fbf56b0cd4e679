"""Users that shell commands make."""

from __future__ import annotations

import pytest

from coach.accounts import Account, accounts
from coach.shell import parse


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("useradd -m -u 1234 app", Account("app", 1234, None, "/home/app")),
        ("groupadd -g 999 app && useradd -r --uid=998 -g app -d /srv app", Account("app", 998, 999, "/srv")),
        ("useradd -ms /bin/bash app", Account("app", None, None, "/home/app")),
        ("adduser -D -u 1001 -h /data app", Account("app", 1001, None, "/data")),
        ("addgroup -S -g 5 g && adduser -S -G g app", Account("app", None, 5, "/home/app")),
        ('adduser --disabled-password --gecos "" --uid 7 app', Account("app", 7, None, "/home/app")),
        ("adduser --system app", Account("app", None, None, None)),
        ("useradd -u 5 app && usermod -d /x app", Account("app", None, None, "/x")),
    ],
)
def test_a_user_has_the_numbers_and_the_home_the_command_gives(source: str, expected: Account) -> None:
    assert accounts(parse(source).commands) == {"app": expected}


def test_adding_a_member_to_a_group_makes_no_user() -> None:
    assert accounts(parse("adduser app docker").commands) == {}
    assert accounts(parse('useradd "$NAME"').commands) == {}
