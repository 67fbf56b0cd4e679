"""Which context files stand where: COPY's rules, bind mounts, stages, ignore files."""

from __future__ import annotations

from coach import targets
from coach.site import Site
from coach.tree import MemoryTree


def site(dockerfile: str, *files: str, ignore: str = "", target: str | None = None) -> Site:
    content = dict.fromkeys(files, b"x") | {"Dockerfile": dockerfile.encode()}
    if ignore:
        content[".dockerignore"] = ignore.encode()
    return targets.discover(MemoryTree(content), "Dockerfile", "", target).sites[0]


def view(found: Site) -> dict[str, str]:
    return dict(found.layers.view(found.final))


def test_directories_pour_out_files_go_in_and_wildcards_stay_on_one_level() -> None:
    found = view(
        site(
            "FROM scratch\nWORKDIR /app\nCOPY src lib/\nCOPY package*.json ./\nCOPY a.txt /etc/b.txt\n"
            "COPY */x.csproj /p/\n",
            *("src/m.js", "src/deep/n.js", "package.json", "package-lock.json", "sub/package.json", "a.txt"),
            *("one/x.csproj", "one/two/x.csproj"),
        )
    )

    assert found == {
        "/app/lib/m.js": "src/m.js",
        "/app/lib/deep/n.js": "src/deep/n.js",
        "/app/package.json": "package.json",
        "/app/package-lock.json": "package-lock.json",
        "/etc/b.txt": "a.txt",
        "/p/x.csproj": "one/x.csproj",
    }


def test_parents_and_exclude() -> None:
    found = view(
        site(
            "FROM scratch\nCOPY --parents packages/*/package.json ./x/./y/z /app/\nCOPY --exclude=*.md docs /docs\n",
            *(
                "packages/a/package.json",
                "packages/b/package.json",
                "packages/a/i.js",
                "x/y/z",
                "docs/a.md",
                "docs/b.txt",
            ),
        )
    )

    assert found == {
        "/app/packages/a/package.json": "packages/a/package.json",
        "/app/packages/b/package.json": "packages/b/package.json",
        "/app/y/z": "x/y/z",
        "/docs/b.txt": "docs/b.txt",
    }


def test_the_ignore_file_decides_what_is_there() -> None:
    found = view(
        site("FROM scratch\nCOPY . /\n", "a", "b/c", "b/d", "e", ignore="b\n!b/d\ne\nDockerfile\n.dockerignore\n")
    )

    assert found == {"/a": "a", "/b/d": "b/d"}


def test_context_files_are_followed_through_stages_and_made_files_are_not() -> None:
    found = site(
        "FROM scratch AS src\nCOPY . /all\nFROM scratch AS base\nCOPY a /base/a\nFROM base\n"
        "COPY --from=src /all/lib /lib\nCOPY --from=src /all/made /made\nCOPY --from=other/image /x /x\n",
        *("a", "lib/l", "top"),
    )

    assert view(found) == {"/base/a": "a", "/lib/l": "lib/l"}
    assert [(placed.source, placed.through_stage) for placed in found.layers.end(found.final)] == [
        ("a", False),
        ("lib/l", True),
    ]


def test_bind_mounts_show_their_files_to_one_run_only() -> None:
    found = site(
        "FROM scratch\nWORKDIR /w\n"
        "RUN --mount=type=bind,source=m.json,target=m.json --mount=target=/src,source=lib true\n"
        "RUN true\n",
        *("m.json", "lib/a", "b"),
    )

    assert found.runs[0].files == {"/w/m.json": "m.json", "/src/a": "lib/a"}
    assert found.runs[1].files == {}


def test_variables_in_words_are_expanded_and_unknown_ones_are_unclear() -> None:
    found = site(
        "FROM scratch\nARG DIR=lib\nARG OTHER\nARG TARGETARCH\nCOPY ${DIR} /a\nCOPY x-${TARGETARCH} /b\n",
        "lib/l",
        "x-1",
    )
    copies = [item for item in found.final.body if item.name == "COPY"]

    assert view(found) == {"/a/l": "lib/l"}
    assert found.layers.brought(copies[1], found.final).unclear


def test_a_context_below_the_root_and_one_above_the_dockerfile() -> None:
    tree = MemoryTree({"svc/Dockerfile": b"FROM scratch\nCOPY . /\n", "svc/a": b"", "b": b""})

    below = targets.discover(tree, "svc/Dockerfile", "svc").sites[0]
    above = targets.discover(tree, "svc/Dockerfile", "").sites[0]

    assert sorted(view(below).values()) == ["svc/Dockerfile", "svc/a"]
    assert sorted(view(above).values()) == ["b", "svc/Dockerfile", "svc/a"]
