"""One stage made into two: what is carried over, and when no patch is offered."""

from __future__ import annotations

import re

import pytest

from coach import edits
from coach.dockerfile import parse
from coach.shipped import Shipped
from coach.site import Site
from coach.split import CannotSplitError, plan, sketch
from coach.tree import MemoryTree

MANIFEST = '{"scripts": {"start": "node dist/a.js"}, "dependencies": {"a": "1"}, "devDependencies": {"b": "1"}}'


def shipped(text: str, files: dict[str, str] | None = None, target: str | None = None) -> Shipped:
    tree = MemoryTree({"Dockerfile": text.encode(), **{path: body.encode() for path, body in (files or {}).items()}})
    return Shipped(Site(tree, parse(text.encode(), "Dockerfile"), "", target=target))


def split(text: str, files: dict[str, str] | None = None) -> list[str]:
    """Lines of the Dockerfile after the split."""
    return edits.apply(text.encode(), plan(shipped(text, files)).edits).decode().splitlines()


def runtime(text: str, files: dict[str, str] | None = None) -> list[str]:
    """Lines of the runtime stage alone."""
    lines = split(text, files)
    return lines[max(at for at, line in enumerate(lines) if line.startswith("FROM")) :]


def test_what_describes_the_container_moves_to_the_runtime_stage() -> None:
    text = (
        "FROM golang:1.22\nARG VERSION=1\nENV VERSION=$VERSION\nENV CGO_ENABLED=0\nLABEL a=b\nEXPOSE 80\n"
        'ENTRYPOINT ["/bin/a"]\nWORKDIR /src\nCOPY . .\nRUN go build -o /bin/a .\nSTOPSIGNAL SIGINT\n'
    )

    assert runtime(text) == [
        "FROM gcr.io/distroless/static-debian13:nonroot",
        "ARG VERSION=1",
        "ENV VERSION=$VERSION",
        "WORKDIR /src",
        "COPY --from=build /bin/a /bin/a",
        "LABEL a=b",
        "EXPOSE 80",
        'ENTRYPOINT ["/bin/a"]',
        "STOPSIGNAL SIGINT",
    ]


def test_files_copied_beside_the_work_are_copied_again() -> None:
    text = (
        'FROM golang:1.22-alpine\nWORKDIR /src\nCOPY . .\nCOPY a.conf /etc/a.conf\nRUN go build -o /a .\nCMD ["/a"]\n'
    )

    assert "COPY a.conf /etc/a.conf" in runtime(text, {"a.conf": ""})


def test_a_stage_keeps_the_name_it_has() -> None:
    lines = split('FROM golang:1.22-alpine AS shop\nWORKDIR /src\nCOPY . .\nRUN go build -o /a .\nCMD ["/a"]\n')

    assert lines[0] == "FROM golang:1.22-alpine AS shop"
    assert "COPY --from=shop /a /a" in lines


def test_a_taken_name_is_not_taken_twice() -> None:
    text = (
        "FROM node:22 AS build\nRUN npm ci\nFROM golang:1.22-alpine\nWORKDIR /src\nCOPY --from=build /w ./w\n"
        'COPY . .\nRUN go build -o /a .\nCMD ["/a"]\n'
    )

    lines = split(text)

    assert "FROM golang:1.22-alpine AS builder" in lines
    assert "COPY --from=builder /a /a" in lines


def test_line_ends_are_kept() -> None:
    text = "FROM golang:1.22-alpine\r\nWORKDIR /s\r\nCOPY . .\r\nRUN go build -o /a .\r\nCMD /a -v"

    after = edits.apply(text.encode(), plan(shipped(text)).edits)

    assert after.count(b"\n") == after.count(b"\r\n")
    assert after.endswith(b'CMD ["/a", "-v"]')


@pytest.mark.parametrize(
    ("tail", "base"),
    [
        ('CMD ["/a"]', "gcr.io/distroless/static-debian13:nonroot"),
        ("CMD /a", "gcr.io/distroless/static-debian13:nonroot"),
        ("CMD /a $PORT", "debian:bookworm-slim"),
        ('HEALTHCHECK CMD ["/a", "-h"]\nCMD ["/a"]', "debian:bookworm-slim"),
        ('USER nobody\nCMD ["/a"]', "debian:bookworm-slim"),
    ],
)
def test_a_shell_only_where_one_is_needed(tail: str, base: str) -> None:
    text = f"FROM golang:1.22-bookworm\nWORKDIR /s\nCOPY . .\nRUN CGO_ENABLED=0 go build -o /a .\n{tail}\n"

    assert runtime(text)[0] == f"FROM {base}"


def test_users_are_made_again() -> None:
    text = (
        "FROM golang:1.22-alpine3.20\nRUN adduser -D shop\nWORKDIR /s\nCOPY . .\nRUN go build -o /a .\n"
        'USER shop\nCMD ["/a"]\n'
    )

    assert runtime(text)[:3] == ["FROM alpine:3.20", "WORKDIR /s", "RUN adduser -D shop"]


def test_the_escape_character_of_the_file_is_used() -> None:
    text = (
        "# escape=`\nFROM python:3.12-slim\nRUN apt-get update && apt-get install -y gcc libpq-dev\nWORKDIR /app\n"
        'COPY . .\nRUN pip install psycopg2\nCMD ["python", "a.py"]\n'
    )

    assert "RUN apt-get update `" in runtime(text)
    assert parse("\n".join(split(text)).encode()).stages[1].body[-1].name == "CMD"


def test_node_gets_its_sources_when_they_are_what_runs() -> None:
    text = 'FROM node:22\nWORKDIR /app\nCOPY . .\nRUN npm ci\nCMD ["node", "server.js"]\n'
    files = {"package.json": MANIFEST, "server.js": ""}

    assert split(text, files)[2:] == [
        "COPY . .",
        "RUN npm ci --omit=dev",
        "",
        "FROM gcr.io/distroless/nodejs22-debian13",
        "WORKDIR /app",
        "ENV PATH=/nodejs/bin:$PATH",
        "ENTRYPOINT []",
        "COPY --from=deps /app /app",
        'CMD ["node", "server.js"]',
    ]


GO = "FROM golang:1.22\nWORKDIR /src\nCOPY . .\nRUN go build -o /a .\n"
NODE = "FROM node:22\nWORKDIR /app\nCOPY . .\nRUN npm ci && npm run build\n"
PYTHON = "FROM python:3.12\nWORKDIR /app\nCOPY . .\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GO, "neither CMD nor ENTRYPOINT"),
        (GO + "CMD /a && /b\n", "several commands"),
        (GO + 'CMD ["./run.sh"]\n', "script"),
        (GO + 'CMD ["unheard-of"]\n', "cannot be told"),
        ("FROM acme/go\nRUN go build -o /a .\n" + 'CMD ["/a"]\n', "nothing is known"),
        ("FROM golang AS a\nFROM a\nRUN go build -o /a .\n" + 'CMD ["/a"]\n', "several stages"),
        ("FROM golang:1.22\n" + 'CMD ["go", "run", "."]\n', "nothing is built"),
        (NODE + 'CMD ["pnpm", "start", "--", "-v"]\n', "pnpm"),
        (NODE + 'ENTRYPOINT ["tini", "--"]\n', "init"),
        (NODE + 'CMD ["node", "-r", "b/register", "a.js"]\n', "preloads b"),
        (NODE + 'CMD ["npx", "b"]\n', "no production dependency"),
        (NODE + 'CMD ["npm", "run", "unheard-of"]\n', "no script"),
        (NODE + 'CMD ["npx", "nodemon", "a.js"]\n', "development tool"),
        (NODE.replace("npm ci", "curl -O x && npm ci") + 'CMD ["npm", "start"]\n', "downloads"),
        (NODE.replace("WORKDIR /app\n", "") + 'CMD ["npm", "start"]\n', "working directory"),
        (PYTHON + "RUN poetry env use 3.12 && poetry install\n" + 'CMD ["python", "a.py"]\n', "env use"),
        (PYTHON + "RUN apt-get install -y gcc && pip install --user a\n" + 'CMD ["python", "a.py"]\n', "own"),
        (PYTHON + "USER 1000\nRUN make && pip install a\n" + 'CMD ["python", "a.py"]\n', "user"),
        ("FROM maven:3\nWORKDIR /a\nCOPY . .\nRUN mvn package\nCMD java -jar $JAR\n", "cannot be told"),
    ],
)
def test_no_patch_where_what_runs_is_not_told(text: str, says: str) -> None:
    image = shipped(text, {"run.sh": "#!/bin/sh\n", "package.json": MANIFEST})

    with pytest.raises(CannotSplitError, match=says):
        plan(image)
    assert "FROM " in sketch(image)


def test_a_target_that_builds_ask_for_keeps_its_meaning() -> None:
    image = shipped(GO.replace("1.22", "1.22 AS shop") + 'CMD ["/a"]\n', target="shop")
    text = edits.apply(image.site.dockerfile.content, plan(image).edits).decode()

    assert re.findall(r"^FROM .* AS (\S+)$", text, re.M) == ["build", "shop"]
    with pytest.raises(CannotSplitError, match="not one that ships"):
        plan(shipped(GO.replace("1.22", "1.22 AS dev") + 'CMD ["/a"]\n', target="dev"))
