from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coach import edits, flowchart
from coach.errors import InputError, UsageError
from coach.lessons import Lesson
from coach.model import Answer, Certainty, Diagnosis, Edit, Remedy, Safety, Source, Span, Status
from coach.session import (
    Cumulative,
    Given,
    Key,
    StopFixing,
    Walk,
    check_answer,
    check_symptom,
    cumulative_fix,
    decisions,
    diagnose,
    match,
    title,
)
from coach.tree import MemoryTree
from tests.walking import CHART, LESSONS, Word, chart, discover, read_skill, site

if TYPE_CHECKING:
    from coach.site import Site

GRAPH = chart()
SKILL = read_skill()


def walk_over(text: str, answers: Mapping[str, str] = {}, start: str | None = None) -> Diagnosis:
    given_answers = {node: Given(choice, Source.FLAG) for node, choice in answers.items()}
    return diagnose(site(text), GRAPH, LESSONS, SKILL, given_answers, start)


def ids(report: Diagnosis) -> list[str]:
    return [finding.id for finding in report.further]


def test_stops_at_the_first_fix_and_goes_on_for_the_others() -> None:
    report = walk_over("engine=yes\norder=no\narch=qemu\nroot=yes\n")

    assert report.status is Status.FIX
    assert [step.node for step in report.trail] == ["engine", "order"]
    assert report.fix is not None
    assert report.fix.id == "F2"
    assert ids(report) == ["F7", "F12"]
    assert report.pending is None
    assert report.open_questions == ()


def test_the_finding_carries_proof_and_patch() -> None:
    report = walk_over("engine=yes\norder=no\n")

    assert report.fix is not None
    assert (report.fix.title, report.fix.section, report.fix.anti_pattern) == ("put it in order", "Order", "Mixed up")
    assert [(cited.path, cited.line) for cited in report.fix.evidence] == [("Dockerfile", 2)]
    assert report.fix.files == ("Dockerfile",)
    assert "-order=no\n+order=yes\n" in report.fix.patch


def test_nothing_wrong_is_done() -> None:
    report = walk_over("engine=yes\norder=yes\narch=native\nroot=no\n")

    assert report.status is Status.DONE
    assert [step.choice for step in report.trail] == ["yes", "yes", "native", "no"]
    assert report.fix is None
    assert report.further == ()


def test_an_unanswered_question_is_pending_and_the_walk_goes_past_it() -> None:
    report = walk_over("engine=?\norder=no\narch=?\nroot=yes\n")

    assert report.status is Status.UNDECIDED
    assert report.trail == ()
    assert report.pending is not None
    assert (report.pending.node, report.pending.choices) == ("engine", ("no", "yes"))
    assert report.pending.reason == "engine cannot be told"
    assert report.pending.how_to_find_out == "look at the machine"
    assert [question.node for question in report.open_questions] == ["engine", "arch"]
    assert report.fix is None
    assert ids(report) == ["F2", "F12"]


def test_a_question_after_the_fix_is_open_but_not_pending() -> None:
    report = walk_over("order=no\narch=?\n")

    assert report.status is Status.FIX
    assert report.pending is None
    assert [question.node for question in report.open_questions] == ["arch"]


def test_an_answer_fills_an_unknown() -> None:
    report = walk_over("engine=?\norder=no\n", {"engine": "yes"})

    assert report.status is Status.FIX
    first = report.trail[0]
    assert (first.choice, first.source, first.certainty, first.overridden) == (
        "yes",
        Source.FLAG,
        Certainty.CERTAIN,
        "",
    )
    assert [cited.line for cited in first.evidence] == [1]


def test_an_answer_overrides_a_probe_and_loses_its_evidence() -> None:
    report = walk_over("engine=yes\n", {"engine": "no"})

    assert report.fix is not None
    assert report.fix.id == "F1"
    step = report.trail[0]
    assert (step.choice, step.overridden, step.evidence) == ("no", "yes", ())


def test_a_likely_answer_stays_likely() -> None:
    report = walk_over("engine=maybe-no\n")

    assert report.fix is not None
    assert report.fix.certainty is Certainty.LIKELY
    assert report.trail[0].certainty is Certainty.LIKELY


def test_a_symptom_starts_elsewhere() -> None:
    report = walk_over("engine=no\norder=yes\n", start=check_symptom(GRAPH, "slow"))

    assert [step.node for step in report.trail] == ["order", "arch", "root"]
    assert report.status is Status.DONE


@pytest.mark.parametrize("symptom", ["slow", "SLOW", "order"])
def test_symptoms_go_by_label_or_node(symptom: str) -> None:
    assert check_symptom(GRAPH, symptom) == "order"


def test_an_unknown_symptom_names_the_known() -> None:
    with pytest.raises(UsageError, match=r"did you mean slow\?.*slow, not_sure"):
        check_symptom(GRAPH, "slwo")


def test_an_answer_must_fit_the_chart() -> None:
    assert check_answer(GRAPH, "arch", "QEMU") == "qemu"
    assert check_answer(GRAPH, "arch", "q") == "qemu"
    with pytest.raises(UsageError, match=r"no question 'ordr'; did you mean order\?"):
        check_answer(GRAPH, "ordr", "yes")
    with pytest.raises(UsageError, match="takes qemu, no, native"):
        check_answer(GRAPH, "arch", "n")
    with pytest.raises(UsageError, match="no question 'F1'"):
        check_answer(GRAPH, "F1", "fixed")


@pytest.mark.parametrize(
    ("wanted", "found"), [("no", "no"), ("N", None), ("nat", "native"), ("NO", "no"), ("", None), ("x", None)]
)
def test_match_takes_unique_beginnings(wanted: str, found: str | None) -> None:
    assert match(wanted, ("no", "native", "qemu")) == found


def test_decisions_come_in_walking_order() -> None:
    assert decisions(GRAPH) == ("start", "engine", "order", "arch", "root")


def test_titles_drop_the_code() -> None:
    assert title(GRAPH, "F12") == "name a user"


# -- laws


VALUES = {"engine": ["yes", "no", "?", "maybe-no"], "order": ["yes", "no", "?"]}
VALUES |= {"arch": ["no", "native", "qemu", "?"], "root": ["yes", "no", "?", "maybe-yes"]}


@settings(deadline=None)
@given(
    st.fixed_dictionaries({node: st.sampled_from(values) for node, values in VALUES.items()}),
    st.fixed_dictionaries(
        {}, optional={node: st.sampled_from(flowchart.choices(GRAPH, node)) for node in decisions(GRAPH)}
    ),
)
def test_the_trail_is_a_path_of_the_chart(words: dict[str, str], answers: dict[str, str]) -> None:
    text = "".join(f"{node}={value}\n" for node, value in words.items())

    report = walk_over(text, answers)

    steps = list(report.trail)
    for step, following in itertools.pairwise(steps):
        assert flowchart.follow(GRAPH, step.node, step.choice) == following.node
    if steps:
        end = flowchart.follow(GRAPH, steps[-1].node, steps[-1].choice)
        here = report.fix.id if report.fix else report.pending.node if report.pending else "done"
        assert end == here
    assert (report.fix is not None) == (report.status is Status.FIX)
    assert (report.pending is not None) == (report.status is Status.UNDECIDED)
    if report.pending is not None:
        assert report.open_questions[0] == report.pending
    answered = {step.node for step in report.trail}
    assert answered.isdisjoint(question.node for question in report.open_questions)
    found = [*([report.fix] if report.fix else []), *report.further]
    assert len({finding.id for finding in found}) == len(found)


CIRCLE = """\
flowchart TD
  a{"Is it on?"} -->|no| b{"Did you plug it in?"}
  a -->|yes| done
  b -->|no| a
  b -->|yes| F1["FIX: buy a new one"]
  F1 -. fixed .-> a
"""


def test_a_circle_ends_as_a_question() -> None:
    answers = {"a": Given("no", Source.FLAG), "b": Given("no", Source.FLAG)}

    report = diagnose(site(""), chart(CIRCLE), (), SKILL, answers)

    assert report.status is Status.UNDECIDED
    assert report.pending is not None
    assert report.pending.node == "a"
    assert "round for ever" in report.pending.reason


def test_a_fix_that_leads_back_is_reported_once() -> None:
    answers = {"a": Given("no", Source.FLAG), "b": Given("yes", Source.FLAG)}

    report = diagnose(site(""), chart(CIRCLE), (), SKILL, answers)

    assert report.fix is not None
    assert report.fix.id == "F1"
    assert report.further == ()


def test_fixes_that_lead_to_each_other_end() -> None:
    looped = (
        'flowchart TD\n a{"?"} -->|x| F1["FIX one"]\n a -->|y| z\n F1 -. fixed .-> F2["FIX two"]\n F2 -. fixed .-> F1\n'
    )

    report = diagnose(site(""), chart(looped), (), SKILL, {"a": Given("x", Source.FLAG)})

    assert [report.fix.id if report.fix else "", *ids(report)][:2] == ["F1", "F2"]
    assert len(report.further) <= 2


def test_nodes_that_ask_nothing_are_passed() -> None:
    passing = 'flowchart TD\n slow[Slow build] --> think[Think] --> a{"On?"}\n a -->|yes| b\n a -->|no| F1[FIX it]\n'

    report = diagnose(site(""), chart(passing), (), SKILL, {"a": Given("no", Source.FLAG)})

    assert [step.node for step in report.trail] == ["a"]
    assert report.fix is not None


def test_a_foreign_chart_asks_everything_and_ends_at_its_section() -> None:
    foreign = CHART.replace("F2[", "F99[").replace("F2 ", "F99 ").replace("F99: put it in order", "F2: put it in order")

    report = diagnose(site("engine=yes\norder=no\n"), chart(foreign), LESSONS, SKILL)

    assert report.pending is not None
    assert (report.pending.node, report.pending.reason) == ("order", "no probe is bound to this question")
    ended = diagnose(site("order=no\n"), chart(foreign), LESSONS, SKILL, {"order": Given("no", Source.FLAG)})
    assert ended.fix is not None
    assert ended.fix.section == "Order"
    assert ended.fix.remedy.safety is Safety.SHOW
    assert "Sort it." in ended.fix.remedy.guidance


# -- probes and remedies that misbehave


class Broken:
    NODE, FIX, SECTION, ANTI_PATTERN = "engine", "F1", "Engine", "Off"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def probe(self, site: Site, /) -> Answer:
        raise self.error

    def remedy(self, site: Site, answer: Answer, /) -> Remedy | None:
        raise self.error


@pytest.mark.parametrize("error", [InputError("cannot be read", "Dockerfile", 3), KeyError("x"), RecursionError()])
def test_a_failing_probe_is_an_open_question(error: Exception) -> None:
    broken: Lesson = Broken(error)

    report = diagnose(site("order=no\n"), GRAPH, (broken, *LESSONS[1:]), SKILL)

    assert report.pending is not None
    assert report.pending.node == "engine"
    assert ("Dockerfile:3" if isinstance(error, InputError) else type(error).__name__) in report.pending.reason
    assert ids(report) == ["F2"]


def test_a_failing_remedy_still_reports_the_fix() -> None:
    broken: Lesson = Broken(ValueError())

    report = diagnose(site(""), GRAPH, (broken,), SKILL, {"engine": Given("no", Source.FLAG)})

    assert report.fix is not None
    assert (report.fix.remedy.safety, report.fix.patch, report.fix.files) == (Safety.SHOW, "", ())
    assert report.fix.remedy.reasons


class Fixed(Word):
    """A lesson whose edits are given."""

    def __init__(self, edits_: tuple[Edit, ...], safety: Safety = Safety.SAFE) -> None:
        super().__init__("engine", "F1", "Engine", "no", "yes", safety)
        self.edits = edits_

    def remedy(self, site: Site, answer: Answer, /) -> Remedy | None:
        return Remedy(self.safety, self.edits)


def test_edits_that_overlap_become_guidance() -> None:
    lesson = Fixed((Edit("Dockerfile", Span(0, 5), b""), Edit("Dockerfile", Span(3, 6), b"")))

    report = diagnose(site("engine=no\n"), GRAPH, (lesson,), SKILL)

    assert report.fix is not None
    assert report.fix.remedy.safety is Safety.SHOW
    assert report.fix.remedy.edits == ()
    assert "overlap" in " ".join(report.fix.remedy.reasons)


def test_a_patch_that_would_show_a_secret_is_not_printed() -> None:
    text = "engine=no\nENV NPM_TOKEN=npm_abcdefghijklmnopqrstuvwxyz0123456789\n"
    lesson = Fixed((Edit("Dockerfile", Span(0, len(text)), b"engine=yes\n"),), Safety.REVIEW)

    report = diagnose(site(text), GRAPH, (lesson,), SKILL)

    assert report.fix is not None
    assert report.fix.patch == ""
    assert report.fix.files == ("Dockerfile",)
    assert report.fix.remedy.edits
    assert "secret" in report.fix.remedy.reasons[-1]


def test_a_choice_the_chart_lacks_is_unknown() -> None:
    report = walk_over("engine=purple\n")

    assert report.pending is not None
    assert "'purple'" in report.pending.reason


# -- walking by hand


def hand(text: str, **more: object) -> Walk:
    return Walk(site(text), GRAPH, LESSONS, SKILL, **more)  # type: ignore[arg-type]


def test_back_forgets_the_answer() -> None:
    walk = hand("engine=?\norder=?\n")
    walk.answer("yes")
    walk.answer("no")
    assert walk.at_fix

    assert walk.back()

    assert walk.here == "order"
    assert "order" not in walk.answers
    assert [step.node for step in walk.steps] == ["engine"]
    assert walk.back()
    assert not walk.back()
    assert walk.here == "engine"


def test_back_from_after_a_fix_returns_to_its_question() -> None:
    walk = hand("engine=no\norder=?\n")
    walk.advance()
    assert walk.here == "F1"
    assert walk.go_on()
    assert walk.here == "order"

    assert walk.back()

    assert walk.here == "engine"


def test_assume_walks_on_without_a_fix() -> None:
    walk = hand("engine=?\narch=?\n")

    step = walk.assume()

    assert step is not None
    assert (step.choice, step.assumed, step.certainty) == ("yes", True, Certainty.LIKELY)
    assert walk.here == "order"


def test_assume_takes_the_probes_word_where_it_has_one() -> None:
    walk = hand("engine=maybe-no\n")

    step = walk.assume()

    assert step is not None
    assert (step.choice, step.assumed) == ("no", True)


def test_assume_gives_up_where_everything_is_a_fix() -> None:
    both = chart('flowchart TD\n a{"?"} -->|x| F1[FIX one]\n a -->|y| F2[FIX two]\n')

    assert Walk(site(""), both, (), SKILL).assume() is None


def test_the_symptom_is_asked_only_on_request() -> None:
    assert hand("").here == "engine"
    assert hand("", ask_symptom=True).here == "start"


def test_renew_looks_again() -> None:
    walk = hand("engine=no\n")
    walk.advance()
    assert walk.here == "F1"

    walk.renew(site("engine=yes\n"))

    answer = walk.probe("engine")
    assert answer is not None
    assert answer.choice == "yes"


# -- fixes upon fixes


def fix(
    files: Mapping[str, str],
    *paths: str,
    lessons: tuple[Lesson, ...] = LESSONS,
    answers: Mapping[str, str] = {},
    **how: object,
) -> Cumulative:
    tree = MemoryTree({path: text.encode() for path, text in files.items()})
    flags = {node: Given(choice, Source.FLAG) for node, choice in answers.items()}
    return cumulative_fix(tree, discover(*paths), GRAPH, lessons, SKILL, lambda _: flags, **how)  # type: ignore[arg-type]


ALL_BAD = {"Dockerfile": "engine=no\norder=no\narch=qemu\nroot=yes\n"}


def test_safe_fixes_pile_up() -> None:
    result = fix(ALL_BAD)

    assert [applied.finding.id for applied in result.applied] == ["F1", "F2"]
    assert result.files == {
        "Dockerfile": (ALL_BAD["Dockerfile"].encode(), b"engine=yes\norder=yes\narch=qemu\nroot=yes\n")
    }
    assert [finding.id for finding in result.held] == ["F7"]
    assert [finding.id for finding in result.shown] == ["F12"]
    assert result.notes == ()
    patch = result.patch
    assert patch is not None
    assert patch.count(b"diff --git") == 1


def test_review_takes_in_the_others() -> None:
    result = fix(ALL_BAD, safety=Safety.REVIEW)

    assert [applied.finding.id for applied in result.applied] == ["F1", "F2", "F7"]
    assert result.held == ()


def test_only_picks_fixes_that_come_later() -> None:
    result = fix(ALL_BAD, only=("F2",))

    assert [applied.finding.id for applied in result.applied] == ["F2"]


def test_a_second_run_offers_nothing() -> None:
    after = fix(ALL_BAD, safety=Safety.REVIEW).files["Dockerfile"][1].decode()

    again = fix({"Dockerfile": after}, safety=Safety.REVIEW)

    assert again.applied == ()
    assert again.files == {}
    assert again.patch == b""


class Stubborn(Word):
    """A fix that changes the file and not the answer."""

    def remedy(self, site: Site, answer: Answer, /) -> Remedy | None:
        return Remedy(Safety.SAFE, (Edit(site.dockerfile.path, Span(0, 0), b"# better\n"),))


def test_a_fix_that_changes_nothing_is_dropped_with_a_note() -> None:
    stubborn = Stubborn("engine", "F1", "Engine", "no", "yes")

    result = fix(ALL_BAD, lessons=(stubborn, *LESSONS[1:]))

    assert [applied.finding.id for applied in result.applied] == ["F2"]
    assert len(result.notes) == 1
    assert "F1" in result.notes[0]
    assert b"better" not in result.files["Dockerfile"][1]


class Fighting(Word):
    """A fix that undoes another one's work."""

    def remedy(self, site: Site, answer: Answer, /) -> Remedy | None:
        content = site.tree.read(site.dockerfile.path)
        new = content.replace(b"order=no", b"order=yes").replace(b"engine=yes", b"engine=no")
        return Remedy(Safety.SAFE, (Edit(site.dockerfile.path, Span(0, len(content)), new),))


class Undoing(Word):
    def remedy(self, site: Site, answer: Answer, /) -> Remedy | None:
        content = site.tree.read(site.dockerfile.path)
        new = content.replace(b"engine=no", b"engine=yes").replace(b"order=yes", b"order=no")
        return Remedy(Safety.SAFE, (Edit(site.dockerfile.path, Span(0, len(content)), new),))


def test_fixes_that_fight_come_to_rest() -> None:
    lessons = (Undoing("engine", "F1", "Engine", "no", "yes"), Fighting("order", "F2", "Order", "no", "yes"))

    result = fix({"Dockerfile": "engine=no\norder=yes\n"}, lessons=lessons)

    assert any("keeps undoing" in note for note in result.notes)
    assert len(result.applied) <= 4


def test_two_targets_share_a_dockerfile() -> None:
    result = fix({"Dockerfile": "engine=no\norder=no\n"}, "Dockerfile@a", "Dockerfile@b")

    assert [(applied.target[2], applied.finding.id) for applied in result.applied] == [("a", "F1"), ("a", "F2")]
    assert result.files["Dockerfile"][1] == b"engine=yes\norder=yes\n"


def test_two_dockerfiles_make_one_patch() -> None:
    result = fix({"a/Dockerfile": "engine=no\n", "b/Dockerfile": "order=no\n"}, "a/Dockerfile", "b/Dockerfile")

    assert sorted(result.files) == ["a/Dockerfile", "b/Dockerfile"]
    assert result.patch == edits.diff(
        {path: pair[0] for path, pair in result.files.items()}, {path: pair[1] for path, pair in result.files.items()}
    )


def test_an_answer_that_led_to_a_fix_is_spent_by_it() -> None:
    result = fix({"Dockerfile": "engine=?\n"}, answers={"engine": "no"})

    assert [applied.finding.id for applied in result.applied] == ["F1"]
    assert result.files["Dockerfile"][1] == b"engine=yes\n"


def test_choose_may_decline_and_stop() -> None:
    asked = []

    def decline(target: Key, finding: object, before: object, after: Mapping[str, bytes]) -> Mapping[str, bytes] | None:
        asked.append(finding)
        if len(asked) == 2:
            raise StopFixing
        return None

    result = fix(ALL_BAD, choose=decline)

    assert len(asked) == 2
    assert result.files == {}
    assert result.applied == ()


def test_choose_may_take_a_part() -> None:
    lesson = Fixed((Edit("Dockerfile", Span(7, 9), b"yes"), Edit("Dockerfile", Span(10, 10), b"# why\n")))

    result = fix(
        {"Dockerfile": "engine=no\n"},
        lessons=(lesson,),
        choose=lambda *_: {"Dockerfile": b"engine=no\n# why\n"},
    )

    assert result.files["Dockerfile"][1] == b"engine=no\n# why\n"


def test_a_result_that_cannot_be_read_is_dropped() -> None:
    tree = MemoryTree({"Dockerfile": b"engine=no\norder=no\n"})

    def picky(over: object) -> tuple[Site, ...]:
        found = discover()(over)  # type: ignore[arg-type]
        if b"engine=yes" in found[0].tree.read("Dockerfile"):
            raise InputError("does not parse", "Dockerfile", 1)
        return found

    result = cumulative_fix(tree, picky, GRAPH, LESSONS, SKILL, lambda _: {})

    assert [applied.finding.id for applied in result.applied] == ["F2"]
    assert "does not parse" in result.notes[0]


def test_a_target_that_would_be_lost_is_kept() -> None:
    tree = MemoryTree({"Dockerfile": b"engine=no\n"})

    def losing(over: object) -> tuple[Site, ...]:
        found = discover()(over)  # type: ignore[arg-type]
        return () if b"engine=yes" in found[0].tree.read("Dockerfile") else found

    result = cumulative_fix(tree, losing, GRAPH, LESSONS, SKILL, lambda _: {})

    assert result.files == {}
    assert len(result.notes) == 1


def test_what_cannot_be_printed_is_left_out_of_a_printed_patch() -> None:
    text = "engine=no\nENV NPM_TOKEN=npm_abcdefghijklmnopqrstuvwxyz0123456789\n"
    lesson = Fixed((Edit("Dockerfile", Span(0, len(text)), b"engine=yes\n"),))

    printed = fix({"Dockerfile": text}, lessons=(lesson,), printable=True)
    written = fix({"Dockerfile": text}, lessons=(lesson,))

    assert printed.files == {}
    assert written.files["Dockerfile"][1] == b"engine=yes\n"
    assert written.patch is None


def test_a_new_file_is_new_in_the_patch() -> None:
    lesson = Fixed((Edit(".dockerignore", Span(0, 0), b".git\n"), Edit("Dockerfile", Span(7, 9), b"yes")))

    result = fix({"Dockerfile": "engine=no\n"}, lessons=(lesson,))

    assert result.files[".dockerignore"] == (None, b".git\n")
    patch = result.patch
    assert patch is not None
    assert b"new file mode 100644" in patch
