"""Build logs of every format, whole and broken, and what they point to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coach import misses
from coach.buildlog import Build, Log, State, read
from coach.buildlog.measures import duration, size
from coach.misses import Judgement
from coach.render.log import document, render
from coach.render.text import Style
from coach.site import Site
from coach.targets import discover
from coach.tree import MemoryTree

LOGS = Path(__file__).parent / "logs"
DOCKERFILE = b"""FROM node:22 AS build
WORKDIR /app
COPY . .
RUN npm ci
RUN npm run build   -- --out dist
RUN <<EOF
echo checked
EOF
FROM node:22
WORKDIR /srv
ENV WHERE=dist
COPY --from=build /app/dist ./dist
"""


@pytest.fixture
def site() -> Site:
    tree = MemoryTree(
        {
            "Dockerfile": DOCKERFILE,
            "package.json": b'{"name": "a", "dependencies": {"x": "1"}}',
            "package-lock.json": b"{}",
            "src/index.js": b"1",
        }
    )
    return discover(tree, "Dockerfile").sites[0]


def log(name: str) -> Log:
    return read((LOGS / name).read_bytes())


def only(name: str) -> Build:
    builds = log(name).builds
    assert len(builds) == 1
    return builds[0]


def states(build: Build) -> list[tuple[str, str, float | None]]:
    return [(step.text, step.state.value, step.seconds) for step in build.instructions]


def fixes(judged: Judgement) -> list[str]:
    return [pointer.fix for pointer in judged.pointers]


def test_plain() -> None:
    build = only("plain.log")

    assert states(build) == [
        ("WORKDIR /app", "cached", None),
        ("COPY . .", "done", 1.9),
        ("RUN npm ci", "done", 41.2),
        ("RUN npm run build -- --out dist", "done", 12.6),
        ("WORKDIR /srv", "cached", None),
        ("RUN <<EOF (echo checked...)", "done", 0.3),
        ("COPY --from=build /app/dist ./dist", "done", 0.2),
    ]
    assert (build.context_bytes, build.context_seconds, build.driver) == (618_020_000, 8.3, "docker")
    assert [(cache.kind, cache.where, cache.seconds, cache.error) for cache in build.caches] == [
        ("import", "registry.example/app:cache", 0.4, ""),
        ("export", "registry", 6.8, ""),
    ]
    assert log("plain.log").unread == ()


def test_rawjson_recorded_from_an_engine() -> None:
    build = only("rawjson.log")

    found = {step.text: step for step in build.instructions}
    assert {text: step.state.value for text, step in found.items()} == {
        "WORKDIR /app": "cached",
        "COPY . .": "done",
        "RUN : npm ci && sleep 0.4": "done",
        "COPY --link --from=build /app/a ./dist": "cached",
    }
    spent = found["RUN : npm ci && sleep 0.4"].seconds
    assert spent is not None
    assert spent > 0.4
    assert build.context_bytes == 12014


@pytest.mark.parametrize("name", ["github.log", "github-cli.log"])
def test_a_github_job(name: str) -> None:
    found = log(name)
    build = only(name)

    assert found.from_job
    assert [(step.platform, step.stage, step.text, step.seconds) for step in build.instructions][-3:] == [
        ("linux/amd64", "build", "RUN npm ci", 21.0),
        ("linux/arm64", "build", "RUN npm ci", 160.5),
        ("linux/arm64->amd64", "build", "RUN npm run build -- --out dist", 13.0),
    ]
    assert build.driver == "docker-container"
    assert [cache.error for cache in build.caches] == ["unexpected status 403 Forbidden: token expired", ""]


def test_a_gitlab_job_with_sections_colours_and_cut_lines() -> None:
    assert states(only("gitlab.log")) == [
        ("WORKDIR /app", "cached", None),
        ("COPY . .", "cached", None),
        ("RUN npm ci", "done", 3.5),
    ]


def test_the_format_of_2019() -> None:
    assert log("old-2019.log").format == "plain of 2019"
    assert states(only("old-2019.log")) == [("RUN npm ci", "done", pytest.approx(71.3)), ("COPY . .", "cached", 0.0)]


def test_a_screen_that_was_pasted() -> None:
    build = only("tty.log")

    assert states(build) == [
        ("WORKDIR /app", "cached", 0.0),
        ("COPY . .", "done", 0.4),
        ("RUN npm ci", "done", 8.5),
        ("RUN npm run build -- --out dist", "error", 0.9),
    ]
    assert build.context_bytes == 12_000_000, "not what was sent for the ignore file"


def test_a_log_without_its_ends_gives_what_is_there_and_names_what_is_not() -> None:
    found = log("truncated.log")

    assert states(found.builds[0]) == [
        ("COPY . .", "done", 1.9),
        ("RUN npm run build -...", "done", 2.5),
        ("RUN npm ci", "running", None),
    ]
    assert [unread.line for unread in found.unread] == [1, 10]
    assert "#6" in found.unread[0].why
    assert "npm ci" in found.unread[1].why


def test_failures_are_read() -> None:
    build = only("failed.log")

    assert [step.state for step in build.instructions] == [State.DONE, State.DONE, State.CANCELED, State.ERROR]
    assert "not found" in build.instructions[-1].error
    assert [cache.kind for cache in build.caches if cache.error] == ["import", "export"]


def test_two_builds_in_one_job_are_two() -> None:
    first, second = log("two-builds.log").builds

    assert len(first.instructions) == 7
    assert [step.state for step in second.instructions] == [State.CACHED] * 3


def test_a_log_of_something_else_holds_no_build() -> None:
    found = log("foreign.log")

    assert (found.builds, found.format, found.foreign) == ((), "unknown", 4)


def test_a_cut_json_line_is_named() -> None:
    whole = (LOGS / "rawjson.log").read_bytes()
    found = read(whole[: len(whole) // 2])

    assert len(found.builds) == 1
    assert "JSON" in found.unread[-1].why


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2**31), st.sampled_from(sorted(LOGS.glob("*.log"))))
def test_no_damage_makes_the_reader_fail(noise: bytes, at: int, path: Path) -> None:
    whole = path.read_bytes()
    at %= len(whole)
    found = read(whole[:at] + noise + whole[at + len(noise) // 2 :])

    assert all(build.steps or build.caches for build in found.builds)


def test_long_lines_take_no_longer_than_they_are() -> None:
    found = read(b"#1 [1/2] RUN a\n#1 " + b"a" * 5_000_000 + b"\n#1 DONE 1.0s\n" + b"=> " * 500_000)

    assert found.builds[0].instructions[0].seconds == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2B", 2), ("195.08kB", 195_080), ("6.00MB", 6_000_000), ("1.5MiB", 1_572_864), ("2GB", 2 * 10**9), ("x", None)],
)
def test_sizes(text: str, expected: int | None) -> None:
    assert size(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("70.886µs", 70.886e-6), ("1m11.3s", 71.3), ("1h2m3s", 3723.0), ("22.5ms", 0.0225), ("soon", None)],
)
def test_durations(text: str, expected: float | None) -> None:
    assert duration(text) == (pytest.approx(expected) if expected is not None else None)


# -- held against the Dockerfile


def test_steps_are_given_their_lines(site: Site) -> None:
    judged = misses.judge(only("plain.log"), site)

    assert [placed.line for placed in judged.placed] == [2, 3, 4, 5, 10, 6, 12]


def test_a_cut_step_is_found_by_what_is_left_of_it(site: Site) -> None:
    judged = misses.judge(only("truncated.log"), site)

    assert [placed.line for placed in judged.placed] == [3, 5, 4]


def test_a_step_of_another_dockerfile_is_given_no_line(site: Site) -> None:
    judged = misses.judge(read(b"#1 [build 2/6] RUN make\n#1 DONE 1.0s\n").builds[0], site)

    assert [placed.line for placed in judged.placed] == [None]


def test_the_first_miss_and_what_it_cost(site: Site) -> None:
    judged = misses.judge(only("plain.log"), site)

    assert judged.miss is not None
    assert judged.miss.line == 3
    assert "file" in judged.why
    order = judged.pointers[0]
    assert (order.fix, order.saves) == ("F2", 41.2)
    assert "Dockerfile:3" in order.why
    assert fixes(judged) == ["F2", "F3", "F8"]


def test_a_job_that_starts_cold(site: Site) -> None:
    judged = misses.judge(only("github.log"), site)

    assert fixes(judged) == ["F5", "F5", "F3", "F7"]
    assert judged.pointers[0].saves == pytest.approx(195.2)
    assert "403" in judged.why
    assert judged.pointers[-1].saves == pytest.approx(139.5), "what the other platform took longer"


def test_a_build_that_was_all_cached_points_nowhere(site: Site) -> None:
    judged = misses.judge(log("two-builds.log").builds[1], site)

    assert (judged.miss, judged.pointers) == (None, ())


def test_without_a_repository_the_log_alone_is_judged() -> None:
    judged = misses.judge(only("github.log"), None)

    assert fixes(judged) == ["F5", "F5", "F7"]
    assert all(placed.line is None for placed in judged.placed)


def test_seconds_are_means_over_builds(site: Site) -> None:
    found = misses.seconds([log("plain.log"), log("gitlab.log")], site)

    assert found[4] == pytest.approx((41.2 + 3.5) / 2)
    assert 2 not in found, "a step from the cache says nothing about its cost"


def test_a_log_is_evidence_in_a_walk(site: Site) -> None:
    content = (LOGS / "github.log").read_bytes()
    found = misses.observed(read(content), content, "ci.log", site)

    assert found["cold_ci"].choice == "yes"
    assert found["cold_ci"].evidence[0].path == "ci.log"
    assert "WORKDIR /app" in found["cold_ci"].evidence[0].text
    assert found["layer_order"].choice is None
    assert found["layer_order"].evidence[0].says.startswith("`npm ci` took 21 s")
    assert "context" not in found


def test_a_cold_build_of_a_developer_says_nothing_about_ci(site: Site) -> None:
    content = b"".join(
        b"#%d [build %d/6] %s\n#%d DONE 1.0s\n" % (n, n, text, n)
        for n, text in ((2, b"WORKDIR /app"), (3, b"COPY . ."), (4, b"RUN npm ci"))
    )

    assert misses.observed(read(content), content, "my.log", site) == {}


def test_a_log_of_another_repository_is_no_evidence(site: Site) -> None:
    content = b"".join(
        b"2026-03-04T05:06:01.1Z #%d [a %d/4] RUN x%d\n#%d DONE 9.0s\n" % (n, n, n, n) for n in (2, 3, 4)
    )

    assert misses.observed(read(content), content, "other.log", site) == {}


def test_what_is_printed_holds_no_control_characters_and_no_secret(site: Site) -> None:
    token = "ghp_" + "a1B2" * 9
    content = f"#1 [build 4/6] RUN echo \x1b[31m{token}\x07\n#1 DONE 6.0s\n".encode()
    found = read(content)
    judged = [misses.judge(build, site) for build in found.builds]

    for text in (render(found, judged, "Dockerfile", Style()), json.dumps(document(found, judged, "Dockerfile"))):
        assert token not in text
        assert "\x1b" not in text
        assert "\x07" not in text
