"""Where cache mounts go, how they are written, and what keeps them from being written."""

from __future__ import annotations

import pytest

from coach import edits, targets
from coach.lessons import cache_mount
from coach.model import Remedy, Safety
from coach.site import Site
from coach.tree import MemoryTree

FILES = {
    "package.json": b'{"dependencies": {"is-odd": "3.0.1"}}',
    "requirements.txt": b"flask\n",
    "go.mod": b"module x\n\nrequire golang.org/x/text v0.14.0\n",
    "pom.xml": b"<project/>\n",
}


def site(text: str, **files: bytes) -> Site:
    tree = MemoryTree({**FILES, **files, "Dockerfile": text.encode()})
    return targets.discover(tree, "Dockerfile", None, None).sites[0]


def remedy(text: str, **files: bytes) -> Remedy:
    made = site(text, **files)
    found = cache_mount.remedy(made, cache_mount.probe(made))
    assert found is not None
    return found


def patched(text: str) -> str:
    found = remedy(text)
    assert found.edits, found.reasons
    return edits.apply(text.encode(), found.edits).decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("RUN npm ci\n", "RUN --mount=type=cache,target=/root/.npm npm ci\n"),
        ("run npm ci", "run --mount=type=cache,target=/root/.npm npm ci"),
        ('RUN ["npm", "ci"]\n', 'RUN --mount=type=cache,target=/root/.npm ["npm", "ci"]\n'),
        ("RUN --network=host npm ci\n", "RUN --mount=type=cache,target=/root/.npm --network=host npm ci\n"),
        ("RUN \\\n\tnpm ci\n", "RUN \\\n\t--mount=type=cache,target=/root/.npm \\\n\tnpm ci\n"),
        (
            "RUN set -e; \\\n  # why\n  npm ci\n",
            "RUN --mount=type=cache,target=/root/.npm \\\n  set -e; \\\n  # why\n  npm ci\n",
        ),
        (
            "RUN npm ci && pip install -r requirements.txt\n",
            "RUN --mount=type=cache,target=/root/.npm \\\n    --mount=type=cache,target=/root/.cache/pip \\\n"
            "    npm ci && pip install -r requirements.txt\n",
        ),
        (
            "RUN npm ci\\\n && npm cache clean --force\\\n && ls\n",
            "RUN --mount=type=cache,target=/root/.npm \\\n npm ci\\\n && ls\n",
        ),
    ],
)
def test_a_mount_is_written_in_the_style_of_its_run(before: str, after: str) -> None:
    head = "FROM node:22\nWORKDIR /app\nCOPY . .\n"

    assert patched(head + before) == head + after


def test_the_escape_character_and_line_ends_of_the_file_are_used() -> None:
    head = "# escape=`\r\nFROM golang:1.22 AS b\r\nWORKDIR /src\r\nCOPY . .\r\n"
    tail = "FROM scratch\r\nCOPY --from=b /x /x\r\n"

    after = patched(f"{head}RUN go build `\r\n  -o /x .\r\n{tail}")

    assert after == (
        f"{head}RUN --mount=type=cache,target=/go/pkg/mod `\r\n"
        "  --mount=type=cache,target=/root/.cache/go-build `\r\n"
        f"  go build `\r\n  -o /x .\r\n{tail}"
    )


@pytest.mark.parametrize(
    ("user", "options"),
    [
        ("USER node", ",uid=1000,gid=1000"),
        ("USER 1001", ",uid=1001"),
        ("USER 1001:0", ",uid=1001,gid=0"),
        ("RUN useradd -u 77 app\nUSER app", ",uid=77,gid=77"),
        ("RUN useradd app\nUSER app", ",mode=0777"),
        ("USER root", ""),
    ],
)
def test_a_mount_belongs_to_the_user_who_installs(user: str, options: str) -> None:
    text = f"FROM node:22\n{user}\nENV npm_config_cache=/var/npm\nWORKDIR /app\nCOPY . .\nRUN npm ci\n"

    assert f"--mount=type=cache,target=/var/npm{options} npm ci" in patched(text)


GO = "FROM golang:1.22 AS b\nWORKDIR /src\nCOPY . .\nRUN go mod download\n"


@pytest.mark.parametrize(
    ("text", "safety", "says"),
    [
        (GO + "RUN go build -o /x .\nFROM scratch\nCOPY --from=b /x /x\n", Safety.SAFE, ""),
        (GO + "RUN go build -o /x .\nFROM golang:1.22\nCOPY --from=b /go/pkg /go/pkg\n", Safety.SHOW, "/go/pkg"),
        (GO + "RUN go build -o /x .\nFROM scratch\nCOPY --from=b / /\n", Safety.REVIEW, "no longer come along"),
        (GO + "RUN go build -o /x .\nCMD go run .\n", Safety.SHOW, "starts `go`"),
        (GO + "RUN go build -o /x .\nCMD air\n", Safety.REVIEW, "starts `air`"),
        (GO + "RUN go build -o /x .\n", Safety.REVIEW, "says not what it starts"),
        (GO + 'RUN go build -o /x .\nCMD ["/x"]\n', Safety.SAFE, ""),
        (GO + "RUN mage build\nFROM scratch\nCOPY --from=b /x /x\n", Safety.REVIEW, "`mage` may use"),
        (GO + "RUN cp -r /go/pkg/mod/a /b\nFROM scratch\nCOPY --from=b /b /b\n", Safety.SHOW, "`cp` uses /go/pkg/mod"),
        ("FROM node:22\nCOPY . /root/.npm/\nWORKDIR /root/.npm/app\nRUN npm i -g serve\n", Safety.SHOW, "/root/.npm"),
        ("FROM node:22\nUSER app\nCOPY . .\nRUN npm ci\n", Safety.SHOW, "home directory"),
        ("FROM acme/node\nWORKDIR /a\nCOPY . .\nRUN npm ci\n", Safety.REVIEW, "nothing is known of acme/node"),
        ("FROM node:22\nARG PIP_NO_CACHE_DIR=1\nRUN pip install flask\n", Safety.SHOW, "not set by an ENV"),
    ],
)
def test_a_reader_of_the_cache_is_respected(text: str, safety: Safety, says: str) -> None:
    found = remedy(text)

    assert found.safety is safety, found.reasons
    assert any(says in reason for reason in found.reasons) or not says


def test_every_later_call_of_the_tool_gets_the_mount() -> None:
    text = GO + "RUN go list -m -f '{{.Dir}}' all\nRUN go version\nFROM scratch\nCOPY --from=b /x /x\n"

    after = patched(text)

    assert "RUN --mount=type=cache,target=/go/pkg/mod go list" in after
    assert "RUN go version" in after


def test_a_later_stage_on_the_same_layers_gets_the_mount() -> None:
    text = (
        "FROM maven:3.9 AS deps\nWORKDIR /a\nCOPY pom.xml .\nRUN mvn -B dependency:go-offline\n"
        "FROM deps AS build\nCOPY . .\nRUN mvn -B -o package\n"
        "FROM eclipse-temurin:21-jre\nCOPY --from=build /a/x.jar /\n"
    )

    assert patched(text).count("--mount=type=cache,target=/root/.m2/repository,sharing=locked") == 2


@pytest.mark.parametrize(
    ("env", "left"),
    [
        ("ENV PIP_NO_CACHE_DIR=1\n", ""),
        ("ENV PIP_NO_CACHE_DIR 1\n", ""),
        ("ENV PIP_NO_CACHE_DIR=1 A=b\n", "ENV A=b\n"),
        ('ENV A=b PIP_NO_CACHE_DIR="1" C=d\n', "ENV A=b C=d\n"),
        ("ENV A=b \\\n    PIP_NO_CACHE_DIR=1 \\\n    C=d\n", "ENV A=b \\\n    C=d\n"),
    ],
)
def test_a_variable_is_taken_out_of_its_env(env: str, left: str) -> None:
    text = f"FROM python:3.12\n{env}RUN pip install flask\n"

    assert (
        patched(text) == f"FROM python:3.12\n{left}RUN --mount=type=cache,target=/root/.cache/pip pip install flask\n"
    )
    assert remedy(text).safety is Safety.REVIEW


ONE_OF_TWO = """\
FROM node:22-slim AS pages
WORKDIR /pages
COPY package.json package-lock.json ./
RUN npm ci

FROM python:3.12-slim
ARG WHEELS
COPY requirements.txt .
RUN pip install --cache-dir "$WHEELS/pip" -r requirements.txt
COPY --from=pages /pages/node_modules ./node_modules
CMD ["python"]
"""


def test_what_a_patch_leaves_is_named_with_its_reason() -> None:
    found = remedy(ONE_OF_TWO)

    assert found.safety is Safety.SAFE
    assert found.rest == ("line 9: the value of --cache-dir is not known, so where a mount belongs cannot be told",)
    assert "keeps its answer" in found.guidance


def test_a_patch_for_a_part_is_offered_once() -> None:
    found = remedy(patched(ONE_OF_TWO))

    assert found.safety is Safety.SHOW
    assert found.rest == ()
    assert found.reasons == ("line 9: the value of --cache-dir is not known, so where a mount belongs cannot be told",)


def of_node(options: str, user: str = "node") -> str:
    return (
        f"FROM node:22\nUSER {user}\nWORKDIR /home/node\nCOPY package.json ./\n"
        f"RUN --mount=type=cache,target=/home/node/.npm{options} npm install --prefix . --cache /home/node/.npm\n"
    )


@pytest.mark.parametrize(
    ("options", "user", "choice"),
    [
        ("", "node", "no"),
        ("", "1000:1000", "no"),
        (",uid=1001", "node", "no"),
        (",gid=1000", "node", "no"),
        (",gid=1000,mode=0775", "node", "yes"),
        (",mode=0777", "node", "yes"),
        (",uid=1000", "node", "yes"),
        (",uid=$UID", "node", "yes"),
        (",from=seed", "node", "yes"),
        ("", "root", "yes"),
    ],
)
def test_a_mount_of_another_user_is_no_cache(options: str, user: str, choice: str) -> None:
    assert cache_mount.probe(site(of_node(options, user))).choice == choice


def test_a_mount_changes_hands_where_it_stands() -> None:
    assert patched(of_node(",uid=1001,sharing=locked")) == of_node(",uid=1000,sharing=locked,gid=1000")


def test_a_user_nobody_can_tell_is_not_taken_for_root() -> None:
    made = "FROM python:3.12\nARG WHO\nUSER $WHO\nCOPY requirements.txt ./\nRUN pip install -r requirements.txt\n"

    assert remedy(made).safety is Safety.SHOW
    assert remedy(made.replace("USER $WHO\n", "")).edits
