"""Command lines that build, push or sign images, read as what they do.

One grammar serves docker, buildx, bake, compose (v1 and v2), podman, buildah, nerdctl, depot, img and kaniko:
options may follow the context, take their value as ``--x=y`` or ``--x y``, and repeat.
Flags: docs.docker.com/reference/cli/docker/buildx/build, docs.docker.com/reference/cli/docker/compose,
github.com/GoogleContainerTools/kaniko README, buildah-build(1) (read 2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from coach.ci import paths
from coach.ci.nouns import Value, static
from coach.model import BuildArg, BuildSite, CacheRef, Tree, Unresolved, is_file
from coach.redact import credential_name, mask


@dataclass(frozen=True, slots=True)
class Arg:
    """One word of a command line; ``start`` and ``end`` are its place in the text it was read from."""

    value: Value
    raw: str
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Flag:
    """One option with its value (``None`` for a switch); ``start`` to ``end`` covers both words."""

    name: str
    value: Arg | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command line of a tool that deals in images.

    ``verb`` is ``build``, ``bake``, ``compose``, ``push``, ``compose-push``, ``create`` or ``use`` (a builder),
    ``sign``, ``attest``, ``emulate`` or ``login``. ``open`` holds words that a run may replace by
    anything, options included.
    """

    tool: str
    verb: str
    flags: tuple[Flag, ...] = ()
    positionals: tuple[Arg, ...] = ()
    open: tuple[Arg, ...] = ()
    globals: tuple[Flag, ...] = ()
    subcommand: str = ""
    start: int = 0
    end: int = 0
    head_end: int = 0
    """Where the words that name the tool and the verb end: options can be inserted here."""

    @property
    def parts(self) -> tuple[Flag | Arg, ...]:
        """Options and names, for those who ask where each stands."""
        return (*self.globals, *self.flags, *self.positionals)

    def all(self, *names: str) -> list[Flag]:
        return [flag for flag in self.flags if flag.name in names]

    def last(self, *names: str) -> Flag | None:
        found = self.all(*names)
        return found[-1] if found else None

    def on(self, name: str) -> Flag | None:
        """A switch that is given and not ``=false``."""
        flag = self.last(name)
        if flag is None or (flag.value is not None and flag.value.value.text in ("false", "0", "False")):
            return None
        return flag


_SWITCHES = frozenset(
    "no-cache pull push load rm force-rm squash compress quiet disable-content-trust check debug help use bootstrap "
    "leave dry-run print detach build no-build no-deps no-recreate force-recreate remove-orphans wait "
    "abort-on-container-exit no-start no-color tls tlsverify tls-verify layers all-platforms all squash-all "
    "skip-unused-stages skip-tls-verify cleanup no-push single-snapshot "
    "reproducible cache-copy-layers cache-run-layers insecure insecure-pull "
    "insecure-registry force verbose recursive yes lint save saved metadata no-log-prefix with-dependencies "
    "compatibility service-ports privileged interactive tty quiet-pull pull-always no-attach ignore-pull-failures "
    "identity-label http-proxy stdin parallel memory-check skip-unused no-parallel all-tags".split()
)
_SHORT = {"t": "tag", "f": "file", "o": "output", "q": "quiet", "D": "debug", "H": "host", "l": "log-level", "y": "yes"}
_OPTIONAL_VALUE = frozenset({"cache", "pull", "provenance", "sbom", "layers", "check", "yes", "tlog-upload"})
_KANIKO = {"c": "context", "f": "dockerfile", "d": "destination"}
_COMPOSE_BUILDS = frozenset({"build", "up", "run", "create", "watch"})
_EMULATORS = re.compile(r"(tonistiigi|docker)/binfmt|multiarch/qemu-user-static|dbhi/qus")
_KANIKO_IMAGE = re.compile(r"kaniko(-project)?/(executor|warmer)|/kaniko:|chainguard-?(forks|images)?.*kaniko")


def read(argv: Sequence[Arg]) -> Invocation | None:
    """What a command line does to images, or ``None`` when it does nothing of the kind. ``argv[0]`` is the program."""
    if not argv:
        return None
    words = _split_open(argv)
    name = (words[0].value.text or words[0].value.shown).rsplit("/", 1)[-1]
    name = name.removesuffix(".exe")
    if name == "xargs":
        at = 1
        while at < len(words) and words[at].value.shown.startswith("-"):
            at += 2 if words[at].value.shown in ("-I", "-n", "-P", "-L", "-d", "-a", "-s", "-E") else 1
        return read(words[at:])
    if name == "docker":
        return _docker(words)
    if name in ("docker-compose", "podman-compose"):
        return _compose(words, 1, "docker-compose" if name == "docker-compose" else "podman-compose")
    if name in ("docker-buildx", "buildx"):
        return _buildx(words, 1, ())
    if name in ("podman", "nerdctl", "img", "finch"):
        return _other(words, name)
    if name == "buildah":
        return _buildah(words)
    if name == "depot":
        sub, at = _sub(words, 1)
        if sub in ("build", "bake"):
            return _make(words, at + 1, "depot", sub)
        return None
    if name in ("executor", "kaniko") and (name == "kaniko" or "kaniko" in (words[0].value.shown)):
        return _make(words, 1, "kaniko", "build", short=_KANIKO)
    if name == "cosign":
        sub, at = _sub(words, 1)
        if sub in ("sign", "attest"):
            return _make(words, at + 1, "cosign", sub)
        return None
    if name == "notation":
        sub, at = _sub(words, 1)
        return _make(words, at + 1, "notation", "sign") if sub == "sign" else None
    if name == "gcloud":
        subs = [word.value.text for word in words[1:4]]
        if "builds" in subs and "submit" in [word.value.text for word in words[1:5]]:
            at = next(n for n, word in enumerate(words) if word.value.text == "submit")
            return _make(words, at + 1, "cloud-build", "build")
        return None
    if name == "az" and [word.value.text for word in words[1:3]] == ["acr", "build"]:
        return _make(words, 3, "acr", "build", short={"t": "image", "f": "file", "r": "registry"})
    return None


def _split_open(argv: Sequence[Arg]) -> list[Arg]:
    """An unquoted variable whose text is known to hold blanks is several words, as the shell makes of it."""
    words: list[Arg] = []
    for arg in argv:
        text = arg.value.text
        if text is not None and arg.raw.startswith(("$", "${")) and (" " in text or "\n" in text or text == ""):
            words += [replace(arg, value=static(piece)) for piece in text.split()]
        else:
            words.append(arg)
    return words


def _sub(words: Sequence[Arg], at: int) -> tuple[str, int]:
    """The first word that is no option, and where it stands."""
    while at < len(words):
        text = words[at].value.text or ""
        if not text.startswith("-"):
            return text, at
        at += 1
    return "", at


def _globals(words: Sequence[Arg], at: int, switches: frozenset[str]) -> tuple[tuple[Flag, ...], int]:
    """Options in front of a subcommand, and where the subcommand stands."""
    flags: list[Flag] = []
    while at < len(words):
        text = words[at].value.text
        if text is None or not text.startswith("-") or text == "-":
            break
        flag, at = _flag(words, at, switches, {"c": "context", "f": "file", "p": "project-name", **_SHORT})
        flags.append(flag)
    return tuple(flags), at


_DOCKER_GLOBAL_SWITCHES = frozenset(
    {
        "debug",
        "D",
        "tls",
        "tlsverify",
        "help",
        "version",
        "compatibility",
        "dry-run",
        "all-resources",
        "verbose",
        "no-ansi",
    }
)


def _docker(words: Sequence[Arg]) -> Invocation | None:
    flags, at = _globals(words, 1, _DOCKER_GLOBAL_SWITCHES)
    sub = words[at].value.text if at < len(words) else None
    if sub is None and at + 1 < len(words) and _is_one_hole(words[at]) and words[at + 1].value.text == "build":
        # `docker $(BUILDX) build`: a build, whether the variable says buildx or nothing
        at += 1
        sub = "build"
    if sub in ("image", "builder"):
        at += 1
        sub = words[at].value.text if at < len(words) else None
        if sub not in ("build", "push"):
            return None
    if sub == "build":
        return _make(words, at + 1, "docker", "build", before=flags)
    if sub == "push":
        return _make(words, at + 1, "docker", "push")
    if sub == "login":
        return _make(words, at + 1, "docker", "login", short={"u": "username", "p": "password"})
    if sub == "buildx":
        return _buildx(words, at + 1, flags)
    if sub == "compose":
        return _compose(words, at + 1, "compose")
    if sub == "stack" or sub is None:
        return None
    if sub == "run":
        return _docker_run(words, at + 1)
    return None


def _docker_run(words: Sequence[Arg], at: int) -> Invocation | None:
    shown = [word.value.shown for word in words[at:]]
    for offset, text in enumerate(shown):
        if text.startswith("-"):
            continue
        if _EMULATORS.search(text):
            return Invocation("docker", "emulate", start=words[0].start, end=words[-1].end)
        if _KANIKO_IMAGE.search(text):
            return _make(words, at + offset + 1, "kaniko", "build", short=_KANIKO)
    return None


def _buildx(words: Sequence[Arg], at: int, before: tuple[Flag, ...]) -> Invocation | None:
    flags, at = _globals(words, at, frozenset({"debug", "D"}))
    sub = words[at].value.text if at < len(words) else None
    before = (*before, *flags)
    if sub in ("build", "b"):
        return _make(words, at + 1, "buildx", "build", before=before)
    if sub in ("bake", "f"):
        return _make(words, at + 1, "bake", "bake", before=before)
    if sub in ("create", "use"):
        return _make(words, at + 1, "buildx", sub, short={"n": "name"})
    if sub == "imagetools":
        return (
            _make(words, at + 2, "buildx", "push") if "create" in [w.value.text for w in words[at : at + 3]] else None
        )
    return None


def _compose(words: Sequence[Arg], at: int, tool: str) -> Invocation | None:
    flags, at = _globals(words, at, _DOCKER_GLOBAL_SWITCHES)
    sub = words[at].value.text if at < len(words) else None
    if sub in _COMPOSE_BUILDS:
        made = _make(
            words, at + 1, tool, "compose", before=flags, short={**_SHORT, "d": "detach", "T": "tty", "e": "env"}
        )
        return replace(made, subcommand=sub or "")
    if sub == "push":
        return _make(words, at + 1, tool, "compose-push", before=flags)
    return None


def _other(words: Sequence[Arg], tool: str) -> Invocation | None:
    tool = "nerdctl" if tool == "finch" else tool
    flags, at = _globals(words, 1, _DOCKER_GLOBAL_SWITCHES)
    sub = words[at].value.text if at < len(words) else None
    if sub in ("image", "buildx", "builder"):
        at += 1
        sub = words[at].value.text if at < len(words) else None
    if sub in ("build", "buildx"):
        return _make(words, at + 1, tool, "build", before=flags)
    if sub == "push" or (sub == "manifest" and "push" in [word.value.text for word in words[at : at + 2]]):
        return _make(words, at + 1, tool, "push")
    if sub == "compose":
        return _compose(words, at + 1, f"{tool}-compose")
    if sub == "run":
        return _docker_run(words, at + 1)
    return None


def _buildah(words: Sequence[Arg]) -> Invocation | None:
    flags, at = _globals(words, 1, frozenset({"debug", "D", "help"}))
    sub = words[at].value.text if at < len(words) else None
    if sub in ("bud", "build", "build-using-dockerfile"):
        return _make(words, at + 1, "buildah", "build", before=flags)
    if sub == "push" or (sub == "manifest" and "push" in [word.value.text for word in words[at : at + 2]]):
        return _make(words, at + 1, "buildah", "push")
    return None


def _make(
    words: Sequence[Arg],
    at: int,
    tool: str,
    verb: str,
    before: tuple[Flag, ...] = (),
    short: Mapping[str, str] = _SHORT,
) -> Invocation:
    head_end = words[min(at, len(words)) - 1].end
    flags: list[Flag] = []
    positionals: list[Arg] = []
    loose: list[Arg] = []
    plain = False
    while at < len(words):
        word = words[at]
        text = word.value.text if word.value.text is not None else word.value.shown
        if plain or not text.startswith("-") or text == "-":
            # `$TAGS` or `${{ inputs.args }}` standing alone can be options as well as a name
            bare = word.value.text is None and not word.raw.startswith(('"', "'"))
            if bare and _is_one_hole(word) and not plain:
                loose.append(word)
            positionals.append(word)
            at += 1
            continue
        if text == "--":
            plain = True
            at += 1
            continue
        flag, at = _flag(words, at, _SWITCHES, short)
        flags.append(flag)
    return Invocation(
        tool, verb, tuple(flags), tuple(positionals), tuple(loose), before, "", words[0].start, words[-1].end, head_end
    )


_ONE_HOLE = re.compile(r"^(\$\{\{[^}]*\}\}|\$\{[^}]*\}|\$\w+|\$@|\$\(.*\)|`.*`|\$\*|\"?\$\{\w+\[@\]\}\"?)$", re.S)


def _is_one_hole(word: Arg) -> bool:
    return _ONE_HOLE.match(word.raw) is not None or _ONE_HOLE.match(word.value.shown) is not None


def _flag(words: Sequence[Arg], at: int, switches: frozenset[str], short: Mapping[str, str]) -> tuple[Flag, int]:
    word = words[at]
    text = word.value.text if word.value.text is not None else word.value.shown
    if text.startswith("--"):
        name, eq, _ = text[2:].partition("=")
        if eq:
            return Flag(name, _after(word, len(name) + 3), word.start, word.end), at + 1
    else:
        letter = text[1:2]
        name = short.get(letter, letter)
        if len(text) > 2 and name not in switches and letter not in switches:
            skip = 3 if text[2] == "=" else 2
            return Flag(name, _after(word, skip), word.start, word.end), at + 1
    if name in switches or name in _OPTIONAL_VALUE or at + 1 >= len(words):
        return Flag(name, None, word.start, word.end), at + 1
    value = words[at + 1]
    return Flag(name, value, word.start, value.end), at + 2


def _after(word: Arg, skip: int) -> Arg:
    """The part of a word behind its first ``skip`` characters."""
    value = word.value
    cut = replace(
        value,
        text=value.text[skip:] if value.text is not None else None,
        shown=value.shown[skip:],
        options=tuple(option[skip:] for option in value.options),
    )
    return Arg(cut, word.raw, word.start, word.end)


# -- values --------------------------------------------------------------------------------------------------------

_ATOM = re.compile(r"\$\{\{.*?\}\}|\$\{[^}]*\}", re.S)


def split_csv(text: str) -> list[str]:
    """Fields of one CSV record as buildx reads it; commas inside quotes and expressions do not part."""
    held: list[str] = []

    def hold(match: re.Match[str]) -> str:
        held.append(match[0])
        return f"\0{len(held) - 1}\0"

    text = _ATOM.sub(hold, text)
    fields: list[str] = []
    current, quoted = "", False
    for char in text:
        if char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            fields.append(current)
            current = ""
        else:
            current += char
    fields.append(current)
    return [re.sub("\0(\\d+)\0", lambda match: held[int(match[1])], item).strip() for item in fields]


def cache_ref(text: str, line: int) -> CacheRef | None:
    """One cache entry: ``type=gha,mode=max`` or a bare image reference; ``None`` for an empty one."""
    text = text.strip()
    if not text:
        return None
    fields = split_csv(text)
    if len(fields) == 1 and "=" not in _ATOM.sub("", fields[0]):
        return CacheRef("registry", {"ref": fields[0]}, line)
    attrs = {}
    for item in fields:
        key, _, value = item.partition("=")
        attrs[key.strip().lower()] = value.strip()
    kind = attrs.pop("type", "")
    return CacheRef(kind or ("registry" if "ref" in attrs else "local"), attrs, line)


def anew(stages: Value, line: int) -> Unresolved:
    """What is to be said of stages that are built without the cache although the others are not."""
    return Unresolved("no_cache", f"the stages {mask(stages.shown)} are built anew each time, maybe on purpose", line)


def build_arg(text: Value, line: int) -> BuildArg | None:
    """``NAME=value`` or ``NAME``."""
    shown = text.text if text.text is not None else text.shown
    name, eq, value = shown.partition("=")
    name = name.strip()
    if not name or "${{" in name:
        return None
    if not eq:
        return BuildArg(name, None, line, text.secret, text.per_commit)
    if text.text is None:
        return BuildArg(name, None, line, text.secret, text.per_commit)
    value = value.strip().strip("\"'")
    hidden = mask(shown) != shown or (credential_name(name) and mask(f"{name}={value}") != f"{name}={value}")
    return BuildArg(name, "***" if hidden else value, line, text.secret, text.per_commit)


def platforms(value: Value) -> tuple[tuple[str, ...], str]:
    """Platforms of a ``--platform`` value and the reason why they are not all known ("" when they are).

    Of several possible answers the widest counts: what is built on some runs is built.
    """
    texts = [value.text] if value.text is not None else list(value.options)
    if not texts and value.shown:
        known = [item.strip() for item in re.split(r"[,\s]+", _ATOM.sub(" ", value.shown))]
        return tuple(item for item in known if re.fullmatch(r"\w+/[\w/]+", item)), value.why or "it is not written here"
    found: dict[str, None] = {}
    for text in texts:
        for item in re.split(r"[,\s]+", text.strip().strip("\"'")):
            if item and item != "false":
                found.setdefault(item if "/" in item or item == "local" else f"linux/{item}", None)
    return tuple(found), ""


@dataclass(slots=True)
class Place:
    """Where a build is written and what surrounds it; paths are repository paths."""

    tree: Tree
    system: str
    path: str
    line: int
    end_line: int
    job: str = ""
    ci: bool = False
    cwd: str | None = ""
    driver: str = ""
    builder_why: str = ""
    runner: str = ""
    runner_line: int = 0
    emulation_line: int = 0
    keeps_cache: str = ""
    keeps_cache_line: int = 0
    unresolved: tuple[Unresolved, ...] = ()
    foreign: Mapping[str, str] = field(default_factory=dict)
    """Directories of the workspace that hold something else than this repository, with what."""
    checkout: str = ""
    """Directory of the workspace that this repository is checked out into."""

    def locate(self, path: str, base: str | None = None) -> tuple[str | None, str]:
        """A path a command names, as a repository path, or ``None`` with the reason why it is not one."""
        where = self.cwd if base is None else base
        if where is None:
            return None, "the working directory is known only when the job runs"
        found = paths.join(where, path)
        if found is None:
            return None, f"{mask(path)} leads out of the repository"
        for directory, holds in self.foreign.items():
            if found == directory or found.startswith(directory + "/"):
                return None, f"{directory} holds {holds}"
        if self.checkout and (found == self.checkout or found.startswith(self.checkout + "/")):
            found = found[len(self.checkout) + 1 :]
        return found, ""


def place_context(place: Place, value: Value | None, relative_default: bool = True) -> tuple[str | None, str, bool]:
    """Repository path of a build context, the reason when there is none, and whether it is a clean checkout of git."""
    if value is None:
        if relative_default:
            found, why = place.locate(".")
            return found, why, False
        return "", "", True
    if value.text is None:
        shown = value.shown
        if re.fullmatch(r"\{\{ ?defaultContext ?\}\}.*", shown):
            return "", "", True
        chosen = {option for option in value.options if option}
        if len(chosen) != 1:
            return None, value.why or f"the context {mask(shown)} is known only when the job runs", False
        text = chosen.pop()
    else:
        text = value.text
    text = text.strip()
    default = re.fullmatch(r"\{\{ ?defaultContext ?\}\}(?::(.*))?", text)
    if default:
        return paths.join("", default[1] or "."), "", True
    if text == "-":
        return None, "the context is piped in", False
    if paths.is_remote(text):
        own = re.search(
            r"\$\{?\{? ?(github\.repository|GITHUB_REPOSITORY|CI_REPOSITORY_URL|CI_PROJECT_PATH)", value.shown
        )
        if own:
            _, _, inside = text.partition("#")
            _, _, folder = inside.partition(":")
            return paths.join("", folder or "."), "", True
        return None, f"the context {mask(text)} is not a directory of this repository", False
    found, why = place.locate(text)
    return found, why, False


def find_dockerfile(
    place: Place, value: Value | None, context: str | None, context_why: str, in_context: bool
) -> tuple[str | None, str]:
    """Repository path of the Dockerfile, or ``None`` with the reason. ``in_context``: named relative to the context."""
    if value is None or (value.text is not None and not value.text.strip()):
        if context is None:
            return None, context_why
        return paths.default_dockerfile(place.tree, context), ""
    text = value.text
    if text is None:
        chosen = {option for option in value.options if option and option != "false"}
        if len(chosen) != 1:
            return None, value.why or f"the file {mask(value.shown)} is known only when the job runs"
        text = chosen.pop()
    if text == "-":
        return None, "the Dockerfile is piped in"
    if paths.is_remote(text):
        return None, f"the Dockerfile {mask(text)} is not in this repository"
    if in_context:
        if context is None:
            return None, context_why
        found = paths.join(context, text)
        return (found, "") if found is not None else (None, f"{mask(text)} leads out of the repository")
    return place.locate(text)


def site(
    place: Place, call: Invocation, line_of: Mapping[int, int] | None = None, env: Mapping[str, Value] | None = None
) -> BuildSite:
    """The build site of a ``build`` invocation. ``line_of`` maps a flag's ``start`` to its line."""
    env = env or {}
    lines = line_of or {}

    def line(flag: Flag | Arg | None) -> int:
        return lines.get(flag.start, place.line) if flag is not None else 0

    notes: list[Unresolved] = list(place.unresolved)
    kaniko = call.tool == "kaniko"
    named = call.last("context") if kaniko else None
    value: Value | None = named.value.value if named is not None and named.value is not None else None
    if not kaniko:
        certain = [arg for arg in call.positionals if arg not in call.open]
        chosen = certain[-1] if certain else (call.positionals[-1] if call.positionals else None)
        if call.tool in ("acr", "cloud-build") and not call.positionals:
            value = static(".")
        elif chosen is None:
            value = None
            notes.append(Unresolved("context", "the command names no context", place.line))
        else:
            value = chosen.value
    elif value is not None and value.text is not None:
        text = value.text
        if text.startswith("dir://"):
            text = text[6:]
            value = static(text)
        elif "://" in text:
            value = Value(None, text, f"the context {mask(text)} is not a directory of this repository")
    elif value is None:
        value = static(".")

    context, why, git = place_context(place, value) if value is not None else (None, "no context is named", False)
    if context is None:
        notes.append(Unresolved("context", why, place.line))
    file = call.last("dockerfile") if kaniko else call.last("file")
    wanted = file.value.value if file is not None and file.value is not None else None
    dockerfile, file_why = find_dockerfile(place, wanted, context, why, git)
    if wanted is not None and call.tool in ("kaniko", "buildah", "podman", "acr", "cloud-build"):
        # these look beside the working directory and in the context
        inside, _ = find_dockerfile(place, wanted, context, why, True)
        if inside is not None and (
            dockerfile is None or (not is_file(place.tree, dockerfile) and is_file(place.tree, inside))
        ):
            dockerfile, file_why = inside, ""
    if wanted is None and context is not None and call.tool in ("buildah", "podman"):
        containerfile = paths.join(context, "Containerfile")
        if containerfile is not None and is_file(place.tree, containerfile):
            dockerfile = containerfile
    if dockerfile is None:
        notes.append(Unresolved("dockerfile", file_why, line(file) or place.line))

    target, target_note = one(call.last("target"), "target", line)
    if target_note:
        notes.append(target_note)
    wide: dict[str, None] = {}
    platform_line = 0
    for flag in call.all("platform", "custom-platform", "customPlatform", "arch"):
        if flag.value is None:
            continue
        found, open_why = platforms(flag.value.value)
        wide.update(dict.fromkeys(found))
        platform_line = platform_line or line(flag)
        if open_why:
            notes.append(Unresolved("platforms", open_why, line(flag)))
    args: list[BuildArg] = []
    for flag in call.all("build-arg"):
        if flag.value is not None:
            given = build_arg(flag.value.value, line(flag))
            if given is not None:
                known = env.get(given.name)
                if given.value is None and known is not None and "=" not in flag.value.value.shown:
                    given = replace(given, secret=known.secret, per_commit=known.per_commit, value=None)
                args.append(given)
    cache_from, from_notes = caches(call.all("cache-from"), "cache_from", line)
    cache_to, to_notes = caches(call.all("cache-to"), "cache_to", line)
    notes += [*from_notes, *to_notes]
    if call.tool in ("buildah", "podman"):
        # buildah-build(1): every layer that is made is pushed, whichever stage it belongs to
        cache_to = [replace(ref, attrs={**ref.attrs, "mode": "max"}) for ref in cache_to]
    cache_to = [*cache_to, *inline_cache(args)]
    for loose in call.open:
        if loose.value.options and not any("cache" in option for option in loose.value.options):
            continue
        if re.search(r"tag|label|version|image|build_?arg|context|path|dir", loose.raw, re.I):
            continue
        why = f"{mask(loose.value.shown or loose.raw)} may hold further options"
        open_kinds = ["cache_to", "cache_from", "platforms"]
        if re.search(r"opt|flag|extra|param|cache|[@*]", loose.raw, re.I):
            open_kinds.append("no_cache")
        notes += [Unresolved(what, why, line(loose)) for what in open_kinds]
    keeps, keeps_line = place.keeps_cache, place.keeps_cache_line
    no_cache = call.on("no-cache")
    notes += [anew(flag.value.value, line(flag)) for flag in call.all("no-cache-filter") if flag.value and not no_cache]
    if kaniko:
        cache = call.last("cache")
        if cache is not None and (cache.value is None or cache.value.value.text != "false"):
            keeps, keeps_line = "kaniko's layer cache in the registry", line(cache)
    if call.tool == "depot":
        keeps, keeps_line = "Depot's builders keep the cache", place.line
    push, push_line = pushes(call, line)
    tags = tuple(
        mask(flag.value.value.shown)
        for flag in call.all("tag", "destination", "image")
        if flag.value is not None and flag.value.value.shown
    )
    buildkit, buildkit_why = buildkit_of(call, env)
    secrets = tuple(
        item.partition("=")[2]
        for flag in call.all("secret")
        if flag.value is not None
        for item in split_csv(flag.value.value.shown)
        if item.startswith("id=")
    )
    driver = place.driver if call.tool in ("buildx", "bake", "compose") else ("docker" if call.tool == "docker" else "")
    if call.tool == "docker" and place.builder_why == "install":
        driver = place.driver
    if driver in ("cloud", "remote", "kubernetes") and not keeps:
        keeps, keeps_line = DRIVERS_THAT_KEEP[driver], place.line
    return BuildSite(
        system=place.system,
        path=place.path,
        line=place.line,
        end_line=place.end_line,
        job=place.job,
        tool=call.tool,
        ci=place.ci,
        dockerfile=dockerfile,
        context=context,
        target=target,
        platforms=tuple(wide),
        platforms_line=platform_line,
        build_args=tuple(args),
        secrets=secrets,
        cache_from=tuple(cache_from),
        cache_to=tuple(cache_to),
        keeps_cache=keeps,
        keeps_cache_line=keeps_line,
        no_cache=no_cache is not None,
        no_cache_line=line(no_cache),
        buildkit=buildkit,
        buildkit_line=place.line if buildkit is not None or buildkit_why else 0,
        buildkit_why=buildkit_why,
        driver=driver,
        runner=place.runner,
        runner_line=place.runner_line,
        emulation_line=place.emulation_line,
        push=push,
        push_line=push_line,
        tags=tags,
        unresolved=tuple(dict.fromkeys(notes)),
    )


DRIVERS_THAT_KEEP = {
    "cloud": "Docker Build Cloud keeps the cache",
    "remote": "a remote BuildKit daemon keeps the cache",
    "kubernetes": "BuildKit pods in a cluster keep the cache while they live",
}


def inline_cache(args: Sequence[BuildArg]) -> list[CacheRef]:
    """``BUILDKIT_INLINE_CACHE=1`` writes the cache of the resulting image into the image."""
    return [
        CacheRef("inline", {}, arg.line)
        for arg in args
        if arg.name == "BUILDKIT_INLINE_CACHE" and arg.value in ("1", "true")
    ]


def one(flag: Flag | None, what: str, line: object) -> tuple[str | None, Unresolved | None]:
    """The text of a single-valued option."""
    if flag is None or flag.value is None:
        return None, None
    value = flag.value.value
    if value.text is not None:
        return value.text or None, None
    chosen = {option for option in value.options if option}
    if len(chosen) == 1:
        return chosen.pop(), None
    at = line(flag) if callable(line) else 0
    return None, Unresolved(what, value.why or f"{mask(value.shown)} is known only when the job runs", at)


def caches(flags: Sequence[Flag], what: str, line: object) -> tuple[list[CacheRef], list[Unresolved]]:
    """Cache entries of repeated options, and notes on those that are decided at run time."""
    refs: list[CacheRef] = []
    notes: list[Unresolved] = []
    for flag in flags:
        if flag.value is None:
            continue
        at = line(flag) if callable(line) else 0
        found, note = cache_value(flag.value.value, what, at)
        refs += found
        if note is not None:
            notes.append(note)
    return refs, notes


def cache_value(value: Value, what: str, line: int) -> tuple[list[CacheRef], Unresolved | None]:
    """Cache entries of one value. A value that is a cache on some runs counts as a cache."""
    texts = (
        [value.text] if value.text is not None else [option for option in value.options if option and option != "false"]
    )
    if not texts:
        static_part = _ATOM.sub("", value.shown)
        if "type=" in static_part or re.match(r"[\w.-]+/", value.shown) or (static_part.strip() and "$" in value.shown):
            texts = [value.shown]
        else:
            return [], Unresolved(what, value.why or f"{mask(value.shown)} is known only when the job runs", line)
    found = [cache_ref(piece, line) for text in texts for piece in text.splitlines()]
    return [ref for ref in found if ref is not None], None


def pushes(call: Invocation, line: object) -> tuple[bool | None, int]:
    """Whether the build itself pushes, and the line that says so."""
    at = line if callable(line) else (lambda _flag: 0)
    push = call.on("push")
    if push is not None:
        if push.value is not None and push.value.value.text is None:
            options = push.value.value.options
            return (True if not options or any(option not in ("", "false", "0") for option in options) else None), at(
                push
            )
        return True, at(push)
    for flag in call.all("output"):
        if flag.value is not None and output_pushes(flag.value.value.shown):
            return True, at(flag)
    if call.tool == "kaniko":
        destination = call.last("destination")
        return (False, 0) if call.on("no-push") else (destination is not None, at(destination) if destination else 0)
    if call.tool in ("acr", "cloud-build"):
        return True, at(call.last("image", "tag"))
    return False, 0


def output_pushes(text: str) -> bool:
    """Whether an ``--output`` value sends the image to a registry, if only on some runs."""
    fields = split_csv(text)
    pushes = any(re.fullmatch(r"push=(true|1|\$.*)", field) for field in fields)
    return "type=registry" in fields or ("type=image" in fields and pushes)


def buildkit_of(call: Invocation, env: Mapping[str, Value]) -> tuple[bool | None, str]:
    """Whether a tool builds with BuildKit, and why; ``None`` when only the engine's default decides."""
    if call.tool in ("buildx", "bake"):
        return True, "buildx always builds with BuildKit"
    if call.tool == "depot":
        return True, "Depot builds with BuildKit"
    if call.tool in ("nerdctl", "img"):
        return True, f"{call.tool} builds with BuildKit"
    if call.tool == "kaniko":
        return False, "kaniko is not BuildKit: it has no cache mounts"
    if call.tool in ("buildah", "podman", "podman-compose"):
        return None, f"{call.tool} is not BuildKit, but honours cache mounts"
    if call.tool == "acr":
        return None, "ACR Tasks build with the classic builder unless DOCKER_BUILDKIT=1 is set in the task"
    if call.tool == "cloud-build":
        return None, "Cloud Build's engine decides"
    switch = env.get("DOCKER_BUILDKIT")
    if switch is not None and switch.text is not None:
        off = switch.text.strip().lower() in ("0", "false", "f")
        if call.tool == "docker-compose" and not off:
            through = env.get("COMPOSE_DOCKER_CLI_BUILD")
            if through is not None and through.text is not None and through.text.lower() in ("1", "true"):
                return True, "DOCKER_BUILDKIT=1 and COMPOSE_DOCKER_CLI_BUILD=1"
        elif switch.text.strip():
            return not off, f"DOCKER_BUILDKIT={switch.text.strip()}"
    elif switch is not None:
        return None, "DOCKER_BUILDKIT is set to something known only when the job runs"
    if call.tool == "docker-compose":
        return None, (
            "docker-compose can be Compose v1, which builds without BuildKit unless COMPOSE_DOCKER_CLI_BUILD=1 "
            "and DOCKER_BUILDKIT=1 are set"
        )
    if call.tool == "compose":
        return True, "Compose v2 builds with BuildKit"
    return None, ""
