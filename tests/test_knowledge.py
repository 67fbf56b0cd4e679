"""The tables of facts hold what their schema says, and a wrong table is refused with its place."""

from __future__ import annotations

import tomllib
from importlib import resources

import pytest

from coach import knowledge
from coach.knowledge import KnowledgeError, managers, read_manager

GOOD = """
name = "mine"
ecosystem = "node"
programs = ["mine"]
source = "https://example.org/cache"
date = "2026-11-23"
[[command]]
words = ["install|i"]
action = "install"
named = "named"
[[cache]]
paths = ["$MINE_CACHE", "~/.mine"]
role = "download"
"""


def read(text: str, file: str = "mine.toml") -> knowledge.PackageManager:
    return read_manager(file, tomllib.loads(text))


def test_every_manager_says_where_its_facts_were_read() -> None:
    for name, manager in managers().items():
        assert manager.name == name
        assert "/" in manager.source
        assert manager.date >= "2026-01-01"


@pytest.mark.parametrize(
    "name",
    "npm yarn yarn-berry pnpm bun deno pip pipenv poetry uv pdm conda go cargo maven gradle bundler composer dotnet "
    "mix sbt swift apt apk dnf yum microdnf zypper ccache conan vcpkg".split(),
)  # fmt: skip
def test_a_manager_people_build_images_with_is_there(name: str) -> None:
    assert managers()[name].caches


def test_a_cache_has_a_default_place_and_a_live_one_is_never_shared_by_default() -> None:
    for manager in managers().values():
        for cache in manager.caches:
            assert cache.paths[-1].startswith(("~", "/")), manager.name
            assert not cache.mount or set(cache.mount) <= set(cache.covers), manager.name


def test_a_switch_leads_to_a_manager() -> None:
    for manager in managers().values():
        for switch in manager.switch:
            assert switch.to in managers(), manager.name


def test_a_program_is_found_by_its_name_as_the_tables_say() -> None:
    names = {"pip3.12", "pip3", "xx-go", "gofmt", "mvnw", "gradlew", "micromamba", "python", "apt-get", "", "g o"}
    names |= {program for _, table in knowledge.tables("managers") for program in table["programs"]}
    for name in names:
        fitting = [manager for manager in managers().values() if manager.programs.fullmatch(name)]
        assert fitting == [managers().of_program(name)] * len(fitting), name
        assert len(fitting) <= 1, name
        assert fitting or managers().of_program(name) is None, name
    for manager in managers().values():
        assert all(managers().of_module(module) == manager for module in manager.modules)
    assert managers().of_module("flask") is None


def test_programs_match_whole_names_only() -> None:
    assert managers()["pip"].programs.fullmatch("pip3.12")
    assert not managers()["pip"].programs.fullmatch("pipx")
    assert managers()["go"].programs.fullmatch("xx-go")
    assert not managers()["go"].programs.fullmatch("gofmt")
    assert not managers()["yarn-berry"].programs.fullmatch("")


def test_a_good_table_is_read() -> None:
    manager = read(GOOD)

    assert manager.commands[0].words == (frozenset({"install", "i"}),)
    assert manager.sharing == "shared"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "mine"', 'name = "yours"', "mine.toml: name must be the name of the file"),
        ('source = "https://example.org/cache"', "", "mine.toml: source is missing"),
        ('date = "2026-11-23"', 'date = "today"', "mine.toml: date must be YYYY-MM-DD"),
        ('ecosystem = "node"', "ecosystem = 1", "mine.toml: ecosystem must be str"),
        ('ecosystem = "node"', 'ecosystem = "node"\nspeed = 1', "mine.toml: unknown key speed"),
        ('programs = ["mine"]', 'programs = ["("]', "mine.toml: programs"),
        ('action = "install"', 'action = "fly"', "mine.toml: command 1: action must be one of"),
        ('role = "download"', 'role = "x"', "mine.toml: cache 1: role must be one of"),
        ('"~/.mine"', '"$HOME/.mine"', "mine.toml: cache 1: paths must end in one that needs no variable"),
        ('role = "download"', 'role = "download"\nextra = 1', "mine.toml: cache 1: unknown key extra"),
        (
            'role = "download"',
            'role = "download"\n[[fight]]\nflag = "-a"\nenv = "B"',
            "exactly one of flag, command, env",
        ),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(old: str, new: str, says: str) -> None:
    assert old in GOOD

    with pytest.raises(KnowledgeError) as caught:
        read(GOOD.replace(old, new))

    assert says in str(caught.value)


def test_the_docstring_names_every_key_of_a_managers_file() -> None:
    used: set[str] = set()
    for _, table in knowledge.tables("managers"):
        used |= set(table)
        for items in table.values():
            if isinstance(items, list) and items and isinstance(items[0], dict):
                used |= {key for item in items for key in item}

    assert {key for key in used if key not in (knowledge.__doc__ or "")} == set()


def test_the_tables_ship_with_the_package() -> None:
    folder = resources.files(knowledge.__name__).joinpath("managers")

    assert {item.name for item in folder.iterdir() if item.name.endswith(".toml")} == {
        f"{name}.toml" for name in managers()
    }
