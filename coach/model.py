"""The nouns of coach: frozen values that every room of the house shares, and nothing that acts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Certainty(StrEnum):
    """How far a probe's answer can be trusted. ``CERTAIN`` must never be wrong."""

    CERTAIN = "certain"
    LIKELY = "likely"


class Safety(StrEnum):
    """What may be done with a fix.

    ``SAFE``: same image content by construction. ``REVIEW``: likely right, but the repository cannot
    prove something that ``Fix.reasons`` names. ``SHOW``: guidance only, never written to disk.
    """

    SAFE = "safe"
    REVIEW = "review"
    SHOW = "show"


class Source(StrEnum):
    """Who answered a question."""

    PROBE = "probe"
    USER = "user"
    FLAG = "flag"
    CONFIG = "config"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Half-open range of byte offsets ``[start, end)`` into one original file."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """One cited place: ``line`` to ``end_line`` (1-based, inclusive) of an existing file.

    ``text`` is what stands there, with every secret value and control character already masked;
    ``says`` is what it shows, one short phrase. Something that is *absent* is proved by citing
    the line that would need it.
    """

    path: str
    line: int
    end_line: int
    text: str
    says: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a probe says about one decision.

    ``choice`` is an edge label of the chart, or ``None`` for *unknown*; then ``reason`` says why and
    ``how_to_find_out`` what the user can look at or run. With a choice, ``reason`` sums up in one
    sentence why. ``certainty`` is ``None`` exactly when ``choice`` is.
    """

    choice: str | None
    certainty: Certainty | None
    evidence: tuple[Evidence, ...] = ()
    reason: str = ""
    how_to_find_out: str = ""


def certain(choice: str, reason: str, *evidence: Evidence) -> Answer:
    """A choice that cannot be otherwise."""
    return Answer(choice, Certainty.CERTAIN, evidence, reason)


def likely(choice: str, reason: str, *evidence: Evidence) -> Answer:
    """A choice that an expert would bet on, and that the user may correct."""
    return Answer(choice, Certainty.LIKELY, evidence, reason)


def unknown(reason: str, how_to_find_out: str, *evidence: Evidence) -> Answer:
    """No choice: the repository does not say, because of ``reason``."""
    return Answer(None, None, evidence, reason, how_to_find_out)


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace ``span`` of the *original* bytes of ``path`` by ``new``.

    An insertion has an empty span. A file that does not exist yet is made by the single edit
    ``Edit(path, Span(0, 0), content)``.
    """

    path: str
    span: Span
    new: bytes


@dataclass(frozen=True, slots=True)
class Remedy:
    """What a lesson proposes: edits with their safety, or guidance alone (``SHOW``, no edits).

    ``reasons`` name what has to be looked at (never empty for ``REVIEW``; for ``SHOW``, why no patch is
    written). ``guidance`` is Markdown made for this repository: what the patch does, or, for ``SHOW``,
    the lines to write by hand. It never holds a secret value. ``rest`` names what the edits leave as it is, and why,
    one sentence each: then the question keeps its answer, for that part alone, and what follows is guidance.
    """

    safety: Safety
    edits: tuple[Edit, ...] = ()
    reasons: tuple[str, ...] = ()
    guidance: str = ""
    rest: tuple[str, ...] = ()


class Kind(StrEnum):
    """What a path of the tree is."""

    FILE = "file"
    DIR = "dir"
    SYMLINK = "symlink"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of the repository: relative, "/"-separated, without a leading "./" (the root itself is "").

    ``size`` is in bytes; for an ``opaque`` directory (``.git``, ``node_modules``, a virtual environment …,
    whose content is not listed) it is the sum of what lies in it, a lower bound where ``truncated``.
    ``target`` is a symlink's final target as a repository path, ``None`` when it dangles or leads out.
    """

    path: str
    kind: Kind
    size: int = 0
    executable: bool = False
    target: str | None = None
    opaque: bool = False
    truncated: bool = False


class Tree(Protocol):
    """A read-only repository. Probes see files only through it; nothing outside the root is reachable."""

    def entries(self) -> Mapping[str, Entry]:
        """Every listed path in sorted order, directories and symlinks included."""
        ...

    def read(self, path: str) -> bytes:
        """Content of a file, through symlinks that stay inside. Raises ``InputError``."""
        ...


def is_file(tree: Tree, path: str) -> bool:
    """Whether ``path`` is a regular file, or a symlink that ends at one inside the repository."""
    entry = tree.entries().get(path)
    if entry is not None and entry.kind is Kind.SYMLINK and entry.target is not None:
        entry = tree.entries().get(entry.target)
    return entry is not None and entry.kind is Kind.FILE


@dataclass(frozen=True, slots=True)
class BuildArg:
    """``--build-arg name=value`` at one line. ``value`` is ``None`` when it comes from the environment.

    ``secret`` says that the value is taken from the CI's secret store; ``per_commit`` that it differs
    on every commit (a SHA, a run number, a date). A secret literal is never kept: ``value`` is "***".
    """

    name: str
    value: str | None
    line: int
    secret: bool = False
    per_commit: bool = False


@dataclass(frozen=True, slots=True)
class CacheRef:
    """One ``--cache-from``/``--cache-to`` entry: ``type`` ("registry", "gha", "local", "inline", "s3", "azblob")."""

    type: str
    attrs: Mapping[str, str]
    line: int

    @property
    def mode(self) -> str:
        """``max`` or ``min``; BuildKit's default is ``min``."""
        return self.attrs.get("mode", "min")


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A property of a build that the repository does not tell, and why (``${{ inputs.x }}``, a remote workflow …)."""

    what: str
    reason: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class BuildSite:
    """One place that builds one Dockerfile: a CI step, a compose service, a bake target, a Makefile or script line.

    Paths are repository paths; ``None`` means unknown (then ``unresolved`` says why) except for ``target``,
    where ``None`` means the last stage. ``tool`` is what runs the build: ``buildx``, ``docker``, ``compose``,
    ``bake``, ``kaniko``, ``buildah``, ``podman``, ``depot``, ``nerdctl``, ``cloud-build`` … ``buildkit`` is
    ``None`` when only the engine's default decides. ``ci`` is true for a machine that is thrown away after the
    job; ``keeps_cache`` names what makes its cache outlive the job other than ``cache_to`` (a managed or remote
    builder, layer caching of the provider, a self-hosted runner). ``no_cache_line``, ``emulation_line``,
    ``push_line``, ``signed_line`` … are 0 when the thing is absent.

    All lines are lines of ``path``, the file the build command is written in. ``called_from`` names the CI file that
    gets there through a composite action, a reusable workflow, a Makefile or a script; ``defined_in`` the compose or
    bake file that says what is built (its properties have line 0 here). ``signed_path``/``attested_path`` name the
    file of ``signed_line``/``attested_line`` where that is another one. ``seldom`` says what starts the build where no
    commit does (a clock, a person).
    """

    system: str
    path: str
    line: int
    end_line: int
    job: str
    tool: str
    ci: bool
    dockerfile: str | None
    context: str | None
    target: str | None = None
    platforms: tuple[str, ...] = ()
    platforms_line: int = 0
    build_args: tuple[BuildArg, ...] = ()
    secrets: tuple[str, ...] = ()
    cache_from: tuple[CacheRef, ...] = ()
    cache_to: tuple[CacheRef, ...] = ()
    keeps_cache: str = ""
    keeps_cache_line: int = 0
    no_cache: bool = False
    no_cache_line: int = 0
    no_cache_why: str = ""
    buildkit: bool | None = None
    buildkit_line: int = 0
    buildkit_why: str = ""
    driver: str = ""
    runner: str = ""
    runner_line: int = 0
    emulation_line: int = 0
    push: bool | None = None
    push_line: int = 0
    tags: tuple[str, ...] = ()
    signed_line: int = 0
    attested_line: int = 0
    attested_why: str = ""
    unresolved: tuple[Unresolved, ...] = ()
    called_from: str = ""
    called_line: int = 0
    defined_in: str = ""
    defined_line: int = 0
    signed_path: str = ""
    attested_path: str = ""
    seldom: str = ""

    def unsure(self, what: str) -> Unresolved | None:
        """The note on property ``what`` ("cache_to", "dockerfile", "platforms" …), if it could not be resolved."""
        return next((note for note in self.unresolved if note.what == what), None)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was passed over, and why: a value, so that every output can name it."""

    path: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Question:
    """A decision of the chart, ready to be asked."""

    node: str
    question: str
    choices: tuple[str, ...]
    reason: str
    how_to_find_out: str


@dataclass(frozen=True, slots=True)
class Step:
    """One answered decision of a walk. ``assumed`` marks a "don't know" that the user walked past."""

    node: str
    question: str
    choice: str
    source: Source
    certainty: Certainty
    evidence: tuple[Evidence, ...] = ()
    reason: str = ""
    overridden: str = ""
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class Reruns:
    """How often one step ran again over the last ``commits`` commits of the history, replayed.

    Each count is a pair: for certain, and at most. ``floor`` is how often something changed that it truly needs.
    ``line`` is a line of the Dockerfile (of the patched one for a step that only it has); ``says`` is a sentence.
    """

    line: int
    step: str
    commits: int
    now: tuple[int, int] | None
    patched: tuple[int, int] | None
    floor: int | None
    says: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A FIX the walk reached, with everything a reader needs. ``patch`` is a unified diff, "" for ``SHOW``.

    ``explanation`` is how the section of the skill begins: why this matters, as Markdown. ``replay`` is what the
    repository's history says about it, when it was asked.
    """

    id: str
    node: str
    title: str
    section: str
    anti_pattern: str
    certainty: Certainty
    evidence: tuple[Evidence, ...]
    reason: str
    remedy: Remedy
    patch: str
    files: tuple[str, ...]
    explanation: str = ""
    replay: tuple[Reruns, ...] = ()


class Status(StrEnum):
    """How a walk ended: at a FIX, at done, or at a question nobody answered."""

    FIX = "fix"
    DONE = "done"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The walk over one target: one Dockerfile, built from one context, up to one stage."""

    dockerfile: str
    context: str
    target: str | None
    built_by: tuple[BuildSite, ...]
    status: Status
    trail: tuple[Step, ...]
    pending: Question | None
    open_questions: tuple[Question, ...]
    fix: Finding | None
    further: tuple[Finding, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding, the first fix before further ones."""
        return (*([self.fix] if self.fix is not None else []), *self.further)


@dataclass(frozen=True, slots=True)
class Report:
    """All diagnoses of one run, in a stable order. ``skipped`` names what could not be read."""

    targets: tuple[Diagnosis, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def findings(self) -> Iterable[Finding]:
        """Every finding of every target, first fixes before further ones."""
        for target in self.targets:
            yield from target.findings
