from __future__ import annotations

import base64
import json

from coach.rawlog import RawLog

START = "2026-11-23T17:00:00.5Z"


def vertex(name: str, digest: str, **more: object) -> str:
    return json.dumps({"vertexes": [{"digest": digest, "name": name, **more}]})


def done(name: str, digest: str, end: str = "2026-11-23T17:00:02.75Z", **more: object) -> list[str]:
    return [
        vertex(name, digest),
        vertex(name, digest, started=START),
        vertex(name, digest, started=START, completed=end, **more),
    ]


def test_steps_with_their_seconds_and_cache() -> None:
    log = RawLog().read(
        [
            *done("[internal] load build definition from Dockerfile", "a"),
            *done("[build 1/3] FROM docker.io/library/node:22", "b"),
            *done("[build 2/3] COPY . .", "c", cached=True, end=START),
            *done("[build 3/3] RUN npm ci", "d"),
        ]
    )

    assert [(step.command, step.cached, step.seconds) for step in log.steps] == [
        ("COPY . .", True, 0.0),
        ("RUN npm ci", False, 2.25),
    ]
    assert log.steps[1].stage == "build"


def test_what_is_learnt_later_about_a_step_holds() -> None:
    name = "[2/2] RUN npm ci"
    log = RawLog().read([*done(name, "a"), vertex(name, "a", started=START, completed=START, cached=True)])

    assert [(step.cached, step.seconds) for step in log.steps] == [(True, 0.0)]


def test_only_the_build_context_is_counted() -> None:
    def sent(digest: str, size: int) -> str:
        return json.dumps({"statuses": [{"id": "transferring context:", "vertex": digest, "current": size}]})

    log = RawLog().read(
        [
            *done("[internal] load .dockerignore", "a"),
            sent("a", 99),
            *done("[internal] load build context", "b"),
            sent("b", 10),
            sent("b", 5000),
        ]
    )

    assert log.context_bytes == 5000
    assert RawLog().context_bytes is None


def test_a_failure_names_its_step_and_ends_with_its_output() -> None:
    said = base64.b64encode(b"npm ERR! NPM_TOKEN=abcdefgh12345678\n").decode()
    name = "[2/2] RUN npm ci"
    log = RawLog().read([*done(name, "a", error="process failed"), json.dumps({"logs": [{"data": said}]})])

    assert log.failed_at == name
    assert log.steps == ()
    assert log.tail[-1] == "process failed"
    assert "abcdefgh12345678" not in " ".join(log.tail)


def test_a_frontend_that_cannot_be_fetched_is_told_from_a_base_image_that_cannot() -> None:
    error = 'failed to do request: Head "https://r/v2/": no such host'
    frontend = done("resolve image config for docker-image://docker.io/docker/dockerfile:1", "a", error=error)
    base = done("[internal] load metadata for docker.io/library/node:22", "a", error=error)

    assert RawLog().read(frontend).no_frontend
    assert not RawLog().read(base).no_frontend


def test_anything_else_is_a_message_or_nothing() -> None:
    hostile = ["", "ERROR: failed to build", "[]", "3", '{"vertexes": 3}', '{"vertexes": [3, {}]}', "[" * 100_000]
    log = RawLog().read([*hostile, '{"logs": [{"data": "%%%"}]}', '{"vertexes": [{"digest": 1, "started": 5}]}'])

    assert log.steps == ()
    assert "ERROR: failed to build" in log.tail
