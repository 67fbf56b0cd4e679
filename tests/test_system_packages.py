"""Mounts that system packages have already are made to work, or left alone where that is not sure."""

from __future__ import annotations

import pytest

from coach import targets
from coach.cache_needs import read
from coach.edits import apply
from coach.knowledge import managers, tables
from coach.lessons import cache_mount
from coach.site import Site
from coach.steps import Action
from coach.system_packages import Ride, ride
from coach.tree import MemoryTree

APT = "RUN --mount=type=cache,target=/var/cache/apt --mount=type=cache,target=/var/lib/apt "
APK = "RUN --mount=type=cache,target=/var/cache/apk "
DNF = "RUN --mount=type=cache,target=/var/cache/dnf "


def site(run: str, image: str = "debian:12") -> Site:
    tree = MemoryTree({"Dockerfile": f"FROM {image}\n{run}\n".encode()})
    return targets.discover(tree, "Dockerfile", None, None).sites[0]


def found(run: str, image: str = "debian:12") -> Ride:
    made = site(run, image)
    return ride(made, read(made)[-1])


def test_every_table_is_of_a_manager_that_installs_system_packages() -> None:
    for _, content in tables("system_packages.toml"):
        for name in content:
            assert {rule.action for rule in managers()[name].commands} == {Action.OS}
    known = {name for name, manager in managers().items() if manager.ecosystem == "os"}
    assert known == {name for _, content in tables("system_packages.toml") for name in content}


@pytest.mark.parametrize(
    ("run", "image", "cut"),
    [
        (APT + "apt-get install -y x && apt-get clean", "debian:12", ["apt-get clean"]),
        (APT + "apt-get install -y x && rm -rf /var/lib/apt/lists/*", "debian:12", ["rm -rf /var/lib/apt/lists/*"]),
        (APT + "apt-get install -y x && rm -rf /var/lib/apt/lists/* /tmp/x", "debian:12", ["/var/lib/apt/lists/*"]),
        # what lies in no mount still has to go
        (
            "RUN --mount=type=cache,target=/var/cache/apt apt-get install -y x && rm -rf /var/lib/apt/lists/*",
            "debian:12",
            [],
        ),
        ("RUN apt-get install -y x && apt-get clean", "debian:12", []),
        # what is useless goes, which keeps the cache small
        (APT + "apt-get install -y x && apt-get autoclean", "debian:12", []),
        (APT + "apt-get -o Dir::Cache=/c install -y x && apt-get clean", "debian:12", []),
        (DNF + "dnf install -y x && dnf clean all", "rockylinux:9", ["dnf clean all"]),
        (DNF + "dnf install -y x && dnf clean all", "fedora:42", []),
        (DNF.replace("dnf ", "libdnf5 ") + "dnf install -y x && dnf clean all", "fedora:42", ["dnf clean all"]),
        (DNF + "dnf install -y x && dnf clean all", "example.org/mine:1", []),
        (APK + "apk add x && apk cache clean", "alpine:3.20", []),
    ],
)
def test_only_what_empties_a_mount_is_cut(run: str, image: str, cut: list[str]) -> None:
    assert [fight.text for fight in found(run, image).cuts] == cut


@pytest.mark.parametrize(
    ("run", "image", "texts"),
    [
        (APT + "apt-get update", "debian:12", ["rm -f /etc/apt/apt.conf.d/docker-clean && \\\n    "]),
        (APT + "rm /etc/apt/apt.conf.d/docker-clean && apt-get update", "debian:12", []),
        (APK + "apk add --no-cache x", "alpine:3.20", ["--cache-dir /var/cache/apk "]),
        (APK + "ln -s /var/cache/apk /etc/apk/cache && apk add x", "alpine:3.20", []),
        (DNF + "dnf update -y && dnf install -y x", "rockylinux:9", ["--setopt=keepcache=1 "] * 2),
        (DNF + "dnf install -y --setopt=keepcache=True x", "rockylinux:9", []),
        ("RUN --mount=type=cache,target=/var/cache/yum microdnf install -y x", "redhat/ubi9-minimal", []),
    ],
)
def test_a_mount_gets_what_it_needs_to_keep_anything(run: str, image: str, texts: list[str]) -> None:
    assert list(found(run, image).inserts.values()) == texts


@pytest.mark.parametrize(
    "run",
    ["sudo apt-get install -y x", "which x || apt-get install -y x", "yes | apt-get install x", "( apt-get update )"],
)
def test_no_command_is_put_in_front_of_one_that_is_wrapped(run: str) -> None:
    made = found(APT + run)

    assert not made.inserts
    assert any("docker-clean" in note for note in made.notes)


def test_system_packages_alone_are_no_reason_for_a_patch() -> None:
    made = site(APT + "apt-get install -y x && apt-get clean")
    answer = cache_mount.probe(made)

    assert answer.choice == "yes"
    assert cache_mount.remedy(made, answer) is None


def test_an_option_stands_in_front_of_the_subcommand_beside_one_that_goes() -> None:
    text = f"FROM alpine:3.20\n{APK}apk --no-cache add py3-pip\nRUN pip install flask\n"
    tree = MemoryTree({"Dockerfile": text.encode()})
    made = targets.discover(tree, "Dockerfile", None, None).sites[0]
    remedy = cache_mount.remedy(made, cache_mount.probe(made))

    assert remedy is not None
    assert b"apk --cache-dir /var/cache/apk add py3-pip\n" in apply(text.encode(), remedy.edits)
