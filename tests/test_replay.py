"""The replay against rows measured on a real engine: what enters a cache key, and what does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha1

import pytest

from coach.dockerfile import BaseConfig, parse
from coach.replay.cache import Outcome, Policy
from coach.replay.commits import Commit, MemoryHistory, Node, changes
from coach.replay.report import Patched, replay, sentence, summary
from coach.replay.simulate import Arguments, AsItWas, Fixed, dockerfile_paths, simulate
from coach.site import Site
from coach.targets import discover
from coach.tree import MemoryTree

Content = str | tuple[str, str]
FILES: dict[str, Content] = {"a": "1", "b": "2", "d1/f": "x", "d2/f": "x", "sub/one.md": "1", "sub/two.txt": "2"}
ARGUMENTS = Arguments(base_config=lambda _: BaseConfig({}, "", "", True))
RAN, CACHED, MAYBE, FAILED = Outcome.RAN, Outcome.CACHED, Outcome.MAYBE, Outcome.FAILED


def history(*snapshots: Mapping[str, Content]) -> MemoryHistory:
    """Snapshots as commits; content is a text, or (git's mode, text)."""
    blobs: dict[str, bytes] = {}
    commits: list[Commit] = []
    before: dict[str, Node] = {}
    for number, files in enumerate(snapshots):
        after: dict[str, Node] = {}
        for path, content in files.items():
            mode, text = content if isinstance(content, tuple) else ("100644", content)
            name = sha1(text.encode()).hexdigest()
            blobs[name] = text.encode()
            after[path] = Node(mode, name)
        commits.append(Commit(f"c{number}", changes(before, after), f"commit {number}"))
        before = after
    return MemoryHistory(commits, blobs)


def outcomes(
    first: str,
    second: str,
    before: Mapping[str, Content] = FILES,
    after: Mapping[str, Content] = FILES,
    arguments: Arguments = ARGUMENTS,
    policy: Policy = Policy.LOCAL,
) -> list[Outcome]:
    """What becomes of the steps of ``second`` when ``first`` was built before."""
    past = history({**before, "Dockerfile": f"FROM base\n{first}\n"}, {**after, "Dockerfile": f"FROM base\n{second}\n"})
    found = simulate(past, AsItWas(arguments, "Dockerfile"), [policy])[policy]
    plan = found.plans[-1]
    assert plan is not None, found.why[-1]
    return [found.outcomes[-1][index] for index in plan.steps]


def changed(
    dockerfile: str, after: Mapping[str, Content | None], before: Mapping[str, Content] = FILES
) -> list[Outcome]:
    """What becomes of the steps when files change (``None``: deleted) and the Dockerfile does not."""
    files = {path: content for path, content in {**before, **after}.items() if content is not None}
    return outcomes(dockerfile, dockerfile, before, files)


# Each row: what was built before, what is built now, outcomes of the steps now. All seen on BuildKit.
EDITED: list[tuple[str, str, str, list[Outcome]]] = [
    ("comments between lines", "RUN a \\\n b", "RUN a \\\n# why\n b", [CACHED]),
    ("reflow", "RUN a  b", "RUN a \\\n b", [CACHED]),
    ("other text", "RUN a", "RUN b", [RAN]),
    ("ENV value", "COPY a /\nENV X=1\nRUN c", "COPY a /\nENV X=2\nRUN c", [CACHED, RAN]),
    ("ENV before a COPY", "ENV X=1\nCOPY a /x", "ENV X=2\nCOPY a /x", [CACHED]),
    ("ENV in a destination", "ENV X=1\nCOPY a /$X", "ENV X=2\nCOPY a /$X", [RAN]),
    ("ENV in another order", "ENV A=1\nENV B=2\nRUN c", "ENV B=2\nENV A=1\nRUN c", [RAN]),
    ("ENV set once more", "ENV A=1\nENV B=2\nRUN c", "ENV A=1\nENV B=2\nENV A=1\nRUN c", [RAN]),
    ("ARG unused", "ARG X=1\nRUN c", "ARG X=2\nRUN c", [RAN]),
    ("ARG below", "RUN c\nARG X=1", "RUN c\nARG X=2", [CACHED]),
    ("ARG without a value", "RUN c", "ARG X\nRUN c", [CACHED]),
    ("platform ARG", "RUN c", "ARG TARGETARCH\nRUN c", [RAN]),
    ("USER", "COPY a /\nUSER 1\nRUN c", "COPY a /\nUSER 2\nRUN c", [CACHED, RAN]),
    ("USER root is not no user", "RUN c", "USER root\nRUN c", [RAN]),
    ("COPY after USER", "USER 1\nCOPY a /x", "USER 2\nCOPY a /x", [CACHED]),
    ("WORKDIR after USER", "USER 1\nWORKDIR /w", "USER 2\nWORKDIR /w", [RAN]),
    ("SHELL", 'SHELL ["/bin/sh", "-c"]\nRUN c', 'SHELL ["/bin/bash", "-c"]\nRUN c', [RAN]),
    ("repeated WORKDIR", "WORKDIR /w\nRUN c", "WORKDIR /w\nWORKDIR /w\nRUN c", [CACHED, RAN, RAN]),
    ("WORKDIR /", "RUN c", "WORKDIR /\nRUN c", [CACHED]),
    ("LABEL, CMD, EXPOSE", "RUN c", 'LABEL a=b\nCMD ["x"]\nEXPOSE 80\nVOLUME /v\nRUN c', [CACHED]),
    ("chmod", "COPY a /x", "COPY --chmod=600 a /x", [RAN]),
    ("chown", "COPY a /x", "COPY --chown=1 a /x", [RAN]),
    ("ADD instead of COPY", "COPY a /x", "ADD a /x", [RAN]),
    ("destination as a folder", "COPY a /x", "COPY a /x/", [RAN]),
    ("source folder with a slash", "COPY d1 /x/", "COPY d1/ /x/", [CACHED]),
    ("same file, other folder", "COPY d1/f /x", "COPY d2/f /x", [CACHED]),
    ("same content, other name", "COPY d1 /x/", "COPY d2 /x/", [RAN]),
    ("sources in another order", "COPY a b /x/", "COPY b a /x/", [RAN]),
    ("heredoc body", "RUN <<E\nx\nE", "RUN <<E\ny\nE", [RAN]),
    ("comment in a heredoc", "RUN <<E\nx\nE", "RUN <<E\n# c\nx\nE", [RAN]),
    ("delimiter of a script", "RUN <<E\nx\nE", "RUN <<F\nx\nF", [CACHED]),
    ("name of a copied heredoc", "COPY <<E /x\nx\nE", "COPY <<F /x\nx\nF", [RAN]),
    ("cache mount", "RUN c", "RUN --mount=type=cache,target=/c c", [RAN]),
    ("cache mount elsewhere", "RUN --mount=type=cache,target=/c c", "RUN --mount=type=cache,target=/d c", [RAN]),
    ("cache id", "RUN --mount=type=cache,id=x,target=/c c", "RUN --mount=type=cache,id=y,target=/c c", [CACHED]),
    ("default id", "RUN --mount=type=cache,target=/c c", "RUN --mount=type=cache,id=/c,target=/c c", [CACHED]),
    ("first id", "RUN --mount=type=cache,target=/c c", "RUN --mount=type=cache,id=x,target=/c c", [RAN]),
    ("shared", "RUN --mount=type=cache,target=/c c", "RUN --mount=type=cache,target=/c,sharing=shared c", [CACHED]),
    ("locked", "RUN --mount=type=cache,target=/c c", "RUN --mount=type=cache,target=/c,sharing=locked c", [RAN]),
    (
        "sharing",
        "RUN --mount=type=cache,target=/c,sharing=locked c",
        "RUN --mount=type=cache,target=/c,sharing=private c",
        [CACHED],
    ),
    (
        "order of mounts",
        "RUN --mount=type=cache,target=/c --mount=type=cache,target=/d c",
        "RUN --mount=type=cache,target=/d --mount=type=cache,target=/c c",
        [CACHED],
    ),
    ("read-only cache", "RUN --mount=type=cache,target=/c c", "RUN --mount=type=cache,target=/c,ro c", [RAN]),
    ("secret", "RUN --mount=type=secret,id=x c", "RUN --mount=type=secret,id=y c", [RAN]),
    (
        "secret written out",
        "RUN --mount=type=secret,id=x c",
        "RUN --mount=type=secret,id=x,target=/run/secrets/x,required=false c",
        [CACHED],
    ),
    ("bind source", "RUN --mount=source=d1,target=/m c", "RUN --mount=source=d2,target=/m c", [CACHED]),
    ("network", "RUN c", "RUN --network=none c", [RAN]),
    ("default network", "RUN c", "RUN --network=default c", [CACHED]),
    ("link: below changes", "RUN c\nCOPY --link a /x/\nRUN d", "RUN e\nCOPY --link a /x/\nRUN d", [RAN, CACHED, RAN]),
    ("link with chmod", "RUN c\nCOPY --link --chmod=600 a /x/", "RUN e\nCOPY --link --chmod=600 a /x/", [RAN, RAN]),
]


@pytest.mark.parametrize(("before", "now", "expected"), [row[1:] for row in EDITED], ids=[row[0] for row in EDITED])
def test_an_edit_reruns_exactly_what_the_engine_reran(before: str, now: str, expected: list[Outcome]) -> None:
    assert outcomes(before, now) == expected


# Each row: the Dockerfile, files that change, outcomes of its steps.
TOUCHED: list[tuple[str, str, dict[str, Content | None], list[Outcome]]] = [
    ("copied content", "COPY a /x\nRUN c", {"a": "9"}, [RAN, RAN]),
    ("another file", "COPY a /x\nRUN c", {"b": "9"}, [CACHED, CACHED]),
    ("mode", "COPY a /x", {"a": ("100755", "1")}, [RAN]),
    ("name in a folder", "COPY sub /x/", {"sub/one.md": None, "sub/uno.md": "1"}, [RAN]),
    ("name under a wildcard", "COPY sub/*.md /x/", {"sub/one.md": None, "sub/uno.md": "1"}, [RAN]),
    ("beside a wildcard", "COPY sub/*.md /x/", {"sub/two.txt": "9"}, [CACHED]),
    ("excluded", "COPY --exclude=b . /x/\nRUN c", {"b": "9"}, [CACHED, CACHED]),
    ("whole context", "COPY . /x/", {"d1/f": "9"}, [RAN]),
    ("bind mount", "RUN --mount=source=a,target=/a c", {"a": "9"}, [RAN]),
    ("beside a bind mount", "RUN --mount=source=a,target=/a c", {"b": "9"}, [CACHED]),
    ("bind mount of everything", "RUN --mount=target=. c", {"b": "9"}, [RAN]),
    ("everything and one file", "RUN --mount=target=/m --mount=source=a,target=/n c", {"b": "9"}, [RAN]),
    (
        "comment in the Dockerfile, copied",
        "COPY . /x/\nRUN c",
        {"Dockerfile": "FROM base\nCOPY . /x/\nRUN c\n# end\n"},
        [RAN, RAN],
    ),
]


@pytest.mark.parametrize(
    ("dockerfile", "touched", "expected"), [row[1:] for row in TOUCHED], ids=[row[0] for row in TOUCHED]
)
def test_a_change_of_files_reruns_exactly_what_the_engine_reran(
    dockerfile: str, touched: dict[str, Content | None], expected: list[Outcome]
) -> None:
    own = {"Dockerfile": f"FROM base\n{dockerfile}\n"}
    past = history(
        {**FILES, **own},
        {path: content for path, content in {**FILES, **own, **touched}.items() if content is not None},
    )
    found = simulate(past, AsItWas(Arguments(), "Dockerfile"), [Policy.LOCAL])[Policy.LOCAL]
    plan = found.plans[-1]

    assert plan is not None
    assert [found.outcomes[-1][index] for index in plan.steps] == expected


def test_a_symlink_counts_by_its_target_when_it_is_named_and_by_its_text_in_a_folder() -> None:
    files: dict[str, Content] = {**FILES, "l/link": ("120000", "../a"), "l/x": "x"}
    other: dict[str, Content | None] = {"a": "1", "z": "1", "l/link": ("120000", "../z")}

    assert changed("COPY l/link /x", other, files) == [CACHED]
    assert changed("COPY l /x/", other, files) == [RAN]
    assert changed("COPY l/link /x", {"a": "9"}, files) == [RAN]
    assert changed("COPY l /x/", {"a": "9"}, files) == [CACHED]


def test_an_ignored_file_counts_nowhere_but_the_folder_it_makes_does() -> None:
    files: dict[str, Content] = {**FILES, ".dockerignore": "b\nnew/*\nDockerfile\n"}

    assert changed("COPY . /x/", {"b": "9"}, files) == [CACHED]
    assert changed("COPY . /x/", {"new/f": "9"}, files) == [RAN]


def test_the_ignore_file_of_each_commit_applies_to_it() -> None:
    files: dict[str, Content] = {**FILES, ".dockerignore": ".dockerignore\nDockerfile\nb\n"}

    assert changed("COPY . /x/", {".dockerignore": ".dockerignore\nDockerfile\nb\na\n"}, files) == [RAN]
    assert changed("COPY . /x/", {".dockerignore": ".dockerignore\nDockerfile\nb\nnothing\n"}, files) == [CACHED]


def test_global_arguments_count_only_through_from_or_a_declaration_of_their_own() -> None:
    def built(line: str, inner: str = "") -> list[Outcome]:
        rest = f"FROM base\n{inner}RUN c\n"
        past = history({"Dockerfile": f"ARG V=1\n{rest}"}, {"Dockerfile": f"{line}\n{rest}"})
        found = simulate(past, AsItWas(Arguments(), "Dockerfile"), [Policy.LOCAL])[Policy.LOCAL]
        plan = found.plans[-1]
        assert plan is not None
        return [found.outcomes[-1][index] for index in plan.steps]

    assert built("ARG V=2") == [CACHED]
    assert built("ARG V=2", "ARG V\n") == [RAN]


def test_another_base_image_reruns_everything() -> None:
    past = history({"Dockerfile": "FROM one\nRUN c\n"}, {"Dockerfile": "FROM two\nRUN c\n"})
    found = simulate(past, AsItWas(Arguments(), "Dockerfile"), [Policy.LOCAL])[Policy.LOCAL]

    assert found.outcomes[-1] == (RAN, RAN)


def test_stages_that_the_target_does_not_need_are_not_built() -> None:
    past = history({"Dockerfile": "FROM base AS other\nRUN o\nFROM base\nRUN c\n"})
    found = simulate(past, AsItWas(Arguments(), "Dockerfile"), [Policy.LOCAL])[Policy.LOCAL]
    plan = found.plans[0]

    assert plan is not None
    assert [vertex.kind for vertex in plan.vertices] == ["from", "run"]
    assert {vertex.stage.index for vertex in plan.vertices} == {1}


def test_stage_names_are_in_no_key() -> None:
    text = "FROM base AS {0}\nRUN b\nFROM base\nCOPY --from={0} /o /o\nRUN c\n"
    past = history({"Dockerfile": text.format("one")}, {"Dockerfile": text.format("two")})
    found = simulate(past, AsItWas(Arguments(), "Dockerfile"), [Policy.LOCAL])[Policy.LOCAL]

    assert RAN not in found.outcomes[-1]
    assert MAYBE not in found.outcomes[-1]


STAGED = "FROM base AS build\nCOPY a /a\nRUN make\nFROM base\nCOPY --from=build /out /out\nRUN use\n"


def test_what_hangs_on_another_stage_is_an_interval() -> None:
    past = history({"Dockerfile": STAGED, "a": "1"}, {"Dockerfile": STAGED, "a": "2"}, {"Dockerfile": STAGED, "a": "1"})
    found = simulate(past, AsItWas(Arguments(), "Dockerfile"), [Policy.LOCAL])[Policy.LOCAL]

    plan = found.plans[0]
    assert plan is not None
    assert [found.outcomes[1][index] for index in plan.steps] == [RAN, RAN, MAYBE, MAYBE]
    assert [found.outcomes[2][index] for index in plan.steps] == [CACHED] * 4, "an old state is still known"


def test_copies_that_may_hold_the_same_bytes_may_spare_each_other_in_one_build() -> None:
    text = (
        "FROM base AS one\nRUN a\nFROM base AS two\nRUN b\n"
        "FROM base\nCOPY --link --from=one /made /x/\nCOPY --link --from=two /made /x/\nRUN c\n"
    )
    found = simulate(history({"Dockerfile": text}), AsItWas(Arguments(), "Dockerfile"), [Policy.LOCAL])[Policy.LOCAL]

    plan = found.plans[0]
    assert plan is not None
    assert [found.outcomes[0][index] for index in plan.steps] == [RAN, RAN, MAYBE, MAYBE, RAN]


def test_the_same_step_in_two_stages_is_one() -> None:
    text = "FROM base AS one\nRUN a\nFROM base\nRUN a\nCOPY --from=one /x /x\n"
    found = simulate(history({"Dockerfile": text}), AsItWas(Arguments(), "Dockerfile"), [Policy.LOCAL])[Policy.LOCAL]

    plan = found.plans[0]
    assert plan is not None
    assert [found.outcomes[0][index] for index in plan.steps] == [RAN, RAN, RAN]


def test_policies_keep_what_they_keep() -> None:
    files: list[dict[str, Content]] = [{"Dockerfile": STAGED, "a": text} for text in ("1", "1", "2", "1")]
    found = simulate(history(*files), AsItWas(Arguments(), "Dockerfile"), list(Policy))

    def rows(policy: Policy) -> list[list[Outcome]]:
        plan = found[policy].plans[0]
        assert plan is not None
        return [[row[index] for index in plan.steps] for row in found[policy].outcomes[1:]]

    assert rows(Policy.LOCAL) == [[CACHED] * 4, [RAN, RAN, MAYBE, MAYBE], [CACHED] * 4]
    assert rows(Policy.MAX) == [[CACHED] * 4, [RAN, RAN, MAYBE, MAYBE], [RAN, RAN, MAYBE, MAYBE]]
    assert rows(Policy.MIN) == rows(Policy.MAX)
    assert rows(Policy.NONE) == [[RAN] * 4] * 3


def test_the_smaller_export_forgets_the_stages_that_only_build() -> None:
    text = (
        "FROM base AS deps\nCOPY lock /\nRUN install\nFROM deps AS build\nCOPY src /s/\nRUN make\n"
        "FROM base\nCOPY --from=build /out /out\n"
    )
    files: list[dict[str, Content]] = [{"Dockerfile": text, "lock": "1", "src/a": content} for content in ("1", "2")]
    found = simulate(history(*files), AsItWas(Arguments(), "Dockerfile"), [Policy.MAX, Policy.MIN])

    plan = found[Policy.MAX].plans[0]
    assert plan is not None
    assert [found[Policy.MAX].outcomes[1][index] for index in plan.steps] == [CACHED, CACHED, RAN, RAN, MAYBE]
    assert [found[Policy.MIN].outcomes[1][index] for index in plan.steps] == [RAN, RAN, RAN, RAN, MAYBE]


def test_an_argument_that_differs_on_every_commit_reruns_what_it_is_in_scope_of() -> None:
    arguments = Arguments(per_commit=frozenset({"SHA"}))

    assert outcomes("RUN a\nARG SHA\nRUN b", "RUN a\nARG SHA\nRUN b", arguments=arguments) == [CACHED, RAN]
    assert outcomes("ARG OTHER\nRUN b", "ARG OTHER\nRUN b", arguments=arguments) == [CACHED]


def test_a_missing_file_fails_its_step_and_what_follows_it() -> None:
    assert changed("RUN a\nCOPY b /\nRUN c", {"b": None}) == [CACHED, FAILED, FAILED]
    assert changed("RUN a\nCOPY zz* /\nRUN c", {"b": None}) == [CACHED, CACHED, CACHED], "a wildcard may match nothing"


def test_a_dockerfile_held_constant_hides_its_own_history() -> None:
    past = history(
        {"Dockerfile": "FROM base\nRUN old\n", ".dockerignore": "x", "a": "1"},
        {"Dockerfile": "FROM base\nRUN older\n", ".dockerignore": "y", "a": "1"},
        {"Dockerfile": "FROM base\nRUN newer\n", ".dockerignore": "y", "a": "2"},
    )
    scenario = Fixed(Arguments(), b"FROM base\nCOPY . /\nRUN c\n", "Dockerfile", (".dockerignore", b"y"))
    found = simulate(past, scenario, [Policy.LOCAL])[Policy.LOCAL]

    assert [row[1:] for row in found.outcomes] == [(RAN, RAN), (CACHED, CACHED), (RAN, RAN)]


def test_a_renamed_dockerfile_is_followed() -> None:
    text = "FROM base\nRUN c\n"
    past = history({"Dockerfile": text}, {"docker/Dockerfile": text}, {"docker/app.Dockerfile": text + "RUN d\n"})

    assert dockerfile_paths(past.commits, "docker/app.Dockerfile") == [
        "Dockerfile",
        "docker/Dockerfile",
        "docker/app.Dockerfile",
    ]


def test_commits_before_the_dockerfile_existed_are_named() -> None:
    past = history({"a": "1"}, {"a": "1", "Dockerfile": "FROM base\nRUN c\n"}, {"a": "1", "Dockerfile": "FROM\n"})
    found = simulate(past, AsItWas(Arguments(), "Dockerfile"), [Policy.LOCAL])[Policy.LOCAL]

    assert found.plans[0] is None
    assert found.plans[1] is not None
    assert found.plans[2] is None
    assert "Dockerfile" in found.why[0]
    assert "FROM" in found.why[2]


def test_content_that_the_clone_does_not_hold_is_named() -> None:
    past = history({"Dockerfile": "FROM base\nRUN c\n"}, {"Dockerfile": "FROM base\nRUN d\n"})
    without = MemoryHistory(past.commits, {})
    found = simulate(without, AsItWas(Arguments(), "Dockerfile"), [Policy.LOCAL])[Policy.LOCAL]

    assert found.plans == (None, None)
    assert "clone" in found.why[0]


def test_a_submodule_counts_by_its_commit() -> None:
    files: dict[str, Content] = {**FILES, "mod": ("160000", "one")}

    assert changed("COPY . /x/", {"mod": ("160000", "two")}, files) == [RAN]
    assert changed("COPY a /x/", {"mod": ("160000", "two")}, files) == [CACHED]


# -- the report


NODE = {
    "package.json": '{"name": "app", "version": "1.0.0", "dependencies": {"left-pad": "1.3.0"}}',
    "package-lock.json": '{"name": "app", "lockfileVersion": 3, "packages": {}}',
    "index.js": "1",
    "Dockerfile": "FROM node:22\nWORKDIR /app\nCOPY . .\nRUN npm ci\nCOPY index.js /again\n",
}


def node_site(dockerfile: str) -> Site:
    tree = MemoryTree({path: text.encode() for path, text in {**NODE, "Dockerfile": dockerfile}.items()})
    return discover(tree, "Dockerfile").sites[0]


def node_history() -> MemoryHistory:
    lock = {**NODE, "index.js": "4", "package-lock.json": NODE["package-lock.json"] + "\n"}
    return history(NODE, *({**NODE, "index.js": str(number)} for number in (2, 3, 4)), lock)


def test_an_install_is_counted_today_patched_and_at_its_floor() -> None:
    after = node_site("FROM node:22\nWORKDIR /app\nCOPY package*.json ./\nRUN npm ci\nCOPY . .\nCOPY index.js /again\n")
    found = replay(node_history(), node_site(NODE["Dockerfile"]), Patched(after, ("F2",)))
    install = next(step for step in found.steps if step.install)

    assert (install.now.ran, install.now.at_most) == (4, 4)
    assert install.after is not None
    assert (install.after.ran, install.floor, install.counted) == (1, 1, 4)
    assert install.as_was is not None
    assert install.as_was.ran == 4
    assert [(cause.what, cause.commits, cause.needed) for cause in install.causes] == [
        ("index.js", 3, False),
        ("package-lock.json", 1, True),
    ]
    assert install.line_after == 4
    assert "reran on 4 of your last 4 commits; with this patch, 1" in sentence(install)


def test_seconds_make_minutes_of_the_counts() -> None:
    found = replay(node_history(), node_site(NODE["Dockerfile"]), seconds={4: 10.0})
    local = next(one for one in found.averages if one.policy is Policy.LOCAL)

    assert local.seconds_now == (10.0, 10.0)
    assert local.now == (3.0, 3.0), "both COPYs and the RUN at every commit, WORKDIR at none"


def test_the_summary_holds_only_installs_that_reran() -> None:
    steps = summary(node_history(), node_site(NODE["Dockerfile"]))

    assert [step.line for step in steps] == [4]


def test_a_history_of_one_commit_has_nothing_to_count() -> None:
    found = replay(history(NODE), node_site(NODE["Dockerfile"]))

    assert found.commits == ()
    assert all(step.now.at_most == 0 for step in found.steps)


def test_the_same_history_gives_the_same_report() -> None:
    one, other = (replay(node_history(), node_site(NODE["Dockerfile"])) for _ in range(2))

    assert one == other


def test_a_plan_follows_variables_into_stages() -> None:
    text = b"ARG BASE=debian\nFROM ${BASE} AS one\nFROM one\nRUN c\n"

    def steps(value: str) -> Sequence[str]:
        plan = Arguments(build_args={"BASE": value}).plan(text, "Dockerfile")
        return [vertex.token for vertex in plan.vertices]

    assert steps("a")[0] != steps("b")[0]
    assert steps("a")[1:] == steps("b")[1:]
    assert parse(text).stages[0].name == "one"
