"""Compiled programs: one file, or one folder, is all that runs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

from coach.errors import InputError
from coach.images import Libc, Role
from coach.linkage import natives, output_of
from coach.shipped import Copy, Shipped
from coach.split.draft import CannotSplitError, Draft, build_name, last_work, plain_words, smaller_base
from coach.split.runtime import runtime_packages

# What these build is no program that runs by itself.
_NOT_ALONE = frozenset({"sbt", "gradle", "gradlew", "mvn", "mvnw", "dotnet", "mix", "javac", "kotlinc"})
_JVM_FOLDER = re.compile(r"(.*/(?:install/[^/]+|universal/stage))/bin/[^/]+")
_MOST_SOURCE = 8 * 1024 * 1024
_MOST_READ = 8  # paths that are copied beside a program; more are left to the reader
_GO_TEXT = re.compile(rb'"((?:\\.|[^"\\\n]){1,300})"|`([^`]{1,300})`')
_USUAL = frozenset(
    {"templates", "static", "public", "assets", "views", "migrations", "config", "configs", "web", "locales"}
)
_NOT_READ = re.compile(
    r"(?:readme|license|licence|copying|changelog|contributing|dockerfile|makefile|\.)[^/]*|[^/]*\.(?:go|mod|sum|md|lock)|"
    r"vendor|testdata|docs?|(?:docker-)?compose[^/]*\.ya?ml",
    re.I,
)


def program(shipped: Shipped, word: str, workdir: str) -> Draft:
    """A compiled program: the file that the command names, and what its source says it reads."""
    site, stage = shipped.site, shipped.stage
    compiled = shipped.builds
    if not compiled:
        raise CannotSplitError(f"no compiler that is known makes {word}")
    outputs = [
        output_of(command) for run in shipped.runs for command in run.script.commands if output_of(command) is not None
    ]
    moved = ""
    if word.startswith("/") or "/" in word:
        path = posixpath.normpath(posixpath.join(workdir, word))
    else:
        made = [output for output in outputs if output and posixpath.basename(output) == word]
        bins = [output for output in outputs if output and posixpath.basename(output) == "bin"]
        if made:
            path = made[0]
        elif bins:
            path, moved = posixpath.join(bins[0], word), f"/usr/local/bin/{word}"
        else:
            raise CannotSplitError(f"where {word} lies in the build stage cannot be told")
    name = str(compiled[0].words[0] or "").rsplit("/", 1)[-1]
    release = _release_of(shipped, path)
    if release is not None:
        return _release(shipped, release)
    builders = {posixpath.basename(str(build.words[0] or "")) for build in compiled}
    if builders <= _NOT_ALONE:
        return _distribution(shipped, path, [output for output in outputs if output])
    linked = natives(site, Copy(stage.head, stage, stage, (path,), path))
    build = build_name(shipped)
    draft = Draft(_home_of(shipped, bool(linked)), last_work(stage), build, build)
    draft.take(path, moved)
    draft.says = f"`{path}` is built as before and copied into {draft.base}."
    read, doubt = _read_at_run_time(shipped, workdir)
    for one in read:
        draft.take(one)
    if read:
        shown = ", ".join(posixpath.relpath(one, workdir) for one in read)
        draft.reasons.append(f"{shown}: copied because the program's source names it; what else it reads must be too")
    else:
        draft.reasons.append(f"only {path} is copied: whatever else it reads at run time must be copied too")
    if doubt:
        draft.reasons.append(f"the repository has {', '.join(doubt)}, which it may read")
    if name == "swift":
        bundles = posixpath.join(posixpath.dirname(path), "*.resources")
        draft.reasons.append(f"resource bundles ({bundles}), where packages have any, must be copied as well")
    elif name in ("bun", "deno"):
        draft.reasons.append("modules that are loaded by a name made up at run time are not in the program")
        if draft.base.startswith("alpine"):
            draft.packages.append("libstdc++")
    elif linked and name not in ("go", "xx-go"):
        draft.reasons.append("shared libraries that it links against beyond the C library must be in the runtime image")
    return draft


def _home_of(shipped: Shipped, linked: bool) -> str:
    """A base for one program: the smallest that has its C library and, where needed, a shell."""
    base = shipped.base
    assert base is not None
    shell = _needs_shell(shipped)
    release = base.release if base.release in ("bookworm", "trixie") else "trixie"
    if base.family == "swift":
        return smaller_base(shipped)  # programs load Swift's own runtime libraries
    if base.role is Role.OS:
        return f"{base.reference.written}:{base.reference.tag or 'latest'}"
    if base.libc is Libc.MUSL:
        if linked or shell:
            alpine = re.search(r"alpine([\d.]+)", base.reference.tag)
            return f"alpine:{alpine[1]}" if alpine else "alpine"
        return "gcr.io/distroless/static-debian13:nonroot"
    if shell:
        return f"debian:{release}-slim"
    if not linked:
        return "gcr.io/distroless/static-debian13:nonroot"
    return f"gcr.io/distroless/{'base' if base.family == 'golang' else 'cc'}-debian13:nonroot"


def _needs_shell(shipped: Shipped) -> bool:
    """Whether the runtime stage must hold a shell or a package manager."""
    if any(found.name == "HEALTHCHECK" and not found.value.upper().startswith("NONE") for found in shipped.stage.body):
        return True
    if any(re.match(r"[A-Za-z_]", found.value) for found in shipped.instructions("USER")):
        return True
    if runtime_packages(shipped)[0]:
        return True
    start = shipped.start
    if not start.shell:
        return False
    said = start.command or start.entrypoint
    return said is None or plain_words(said.value) is None


# ---- programs that are a folder


def _distribution(shipped: Shipped, path: str, outputs: Sequence[str]) -> Draft:
    """What a start script stands in: the folder of a JVM distribution, or what ``dotnet publish`` fills."""
    base = shipped.base
    assert base is not None
    jvm = _JVM_FOLDER.fullmatch(path)
    folder = jvm[1] if jvm else next((one for one in outputs if path.startswith(one.rstrip("/") + "/")), None)
    if folder is None or not base.runtime:
        raise CannotSplitError(f"what {path} needs beside itself is not told")
    if jvm and base.libc is Libc.MUSL:
        raise CannotSplitError(f"{path} is a script that may need bash, which {base.runtime[0]} lacks")
    draft = _of_runtime(shipped)
    draft.take(folder)
    draft.says = f"{folder} is made as before and copied into {draft.base}, whole."
    draft.reasons.append(f"only {folder} is copied: configuration that it reads from elsewhere must be copied too")
    return draft


# ---- releases of Elixir


def _release_of(shipped: Shipped, path: str) -> str | None:
    """The folder of a release whose script ``path`` is: all of it runs, Erlang included."""
    folder, _, inner = path.rpartition("/bin/")
    if not folder or "/" in inner or posixpath.basename(posixpath.dirname(folder)) != "rel":
        return None
    made = any(command.words[:2] == ("mix", "release") for run in shipped.runs for command in run.script.commands)
    return folder if made else None


def _release(shipped: Shipped, folder: str) -> Draft:
    build = build_name(shipped)
    home = _distribution_of(shipped)
    draft = Draft(home or smaller_base(shipped), last_work(shipped.stage), build, build)
    draft.take(folder)
    draft.says = f"The release in {folder} is made as before and copied into {draft.base}, whole."
    draft.reasons.append(f"only {folder} is copied: what the release reads from elsewhere must be copied too")
    if home is not None and home.startswith("alpine"):
        draft.packages += ["libstdc++", "ncurses-libs", "openssl"]
    elif home is not None:
        draft.packages += ["libstdc++6", "libncurses6", "openssl", "ca-certificates"]
        draft.env.append("ENV LANG=C.UTF-8")
    return draft


def _distribution_of(shipped: Shipped) -> str | None:
    """The distribution that Hex's images name in their tags: a release runs on it without Erlang or Elixir."""
    base = shipped.base
    if base is None or base.family != "hexpm":
        return None
    found = re.search(r"-(debian|ubuntu|alpine)-([\w.]+(?:-\d+)?)(-slim)?$", base.reference.tag)
    return f"{found[1]}:{found[2]}{found[3] or ''}" if found else None


# ---- what Go sources read


def _read_at_run_time(shipped: Shipped, workdir: str) -> tuple[list[str], list[str]]:
    """Container paths of files that Go sources name and do not embed, and folders that are usually read.

    Only what stands in the working directory counts: that is where a relative name leads.
    """
    view = shipped.site.layers.view(shipped.stage)
    lead = workdir.rstrip("/") + "/"
    inside = {path[len(lead) :]: source for path, source in view.items() if path.startswith(lead)}
    tops: dict[str, list[str]] = {}
    for path in inside:
        tops.setdefault(path.split("/", 1)[0], []).append(path)
    candidates = {
        top for top, paths in tops.items() if not _NOT_READ.fullmatch(top) and not all(p.endswith(".go") for p in paths)
    }
    embedded: set[str] = set()
    named: set[str] = set()
    for path, content in _go_sources(shipped):
        for line in re.findall(rb"^//go:embed (.+)$", content, re.M):
            embedded |= {word.split("/", 1)[0] for word in line.decode("utf-8", "replace").replace("all:", "").split()}
        if path.endswith("_test.go"):
            continue
        for quoted, raw in _GO_TEXT.findall(content):
            text = (quoted or raw).decode("utf-8", "replace")
            text = text.removeprefix(lead).removeprefix("file://").removeprefix("./")
            top = text.split("/", 1)[0]
            if top in candidates and ("/" in text or "." in top or top in _USUAL):
                named.add(top)
    read = sorted(named - embedded)
    if len(read) > _MOST_READ:
        return [], [f"{top}/" for top in read]
    doubt = [f"{top}/" for top in sorted((candidates & _USUAL) - embedded - named)]
    return [lead + top for top in read], doubt


def _go_sources(shipped: Shipped) -> Iterator[tuple[str, bytes]]:
    budget = _MOST_SOURCE
    for path in shipped.site.context_files():
        if not path.endswith(".go") or "/vendor/" in path:
            continue
        try:
            content = shipped.site.read(path)
        except InputError:
            continue
        budget -= len(content)
        if budget < 0:
            return
        yield path, content


# ---- Java and .NET


def java(shipped: Shipped, words: Sequence[str]) -> Draft:
    """The jar that the command names, on a runtime without compiler."""
    at = words.index("-jar")
    jar = words[at + 1] if at + 1 < len(words) else ""
    state = shipped.site.graph.state_at_end(shipped.stage)
    if not jar or "$" in jar:
        raise CannotSplitError("which jar runs cannot be told")
    path = posixpath.normpath(posixpath.join(state.workdir or "/", jar))
    if path in shipped.site.layers.view(shipped.stage):
        raise CannotSplitError("the jar that runs comes out of the repository, not out of the build")
    target = posixpath.dirname(path) + "/" if "*" in path else path
    draft = _of_runtime(shipped)
    if posixpath.basename(path) == "quarkus-run.jar":
        folder = posixpath.dirname(path)
        draft.take(folder)
        draft.says = f"{folder} is made as before and copied into {draft.base}, whole."
        draft.reasons.append(f"only {folder} is copied: configuration that it reads from elsewhere must be copied too")
        return draft
    if _names_libraries(shipped):
        raise CannotSplitError("the jar loads libraries that lie beside it, and which these are is not told")
    draft.take(path, target)
    draft.says = f"The jar is built as before and copied into {draft.base}, alone."
    draft.reasons.append(f"only {path} is copied: configuration that it reads from files must be copied too")
    return draft


def _names_libraries(shipped: Shipped) -> bool:
    """Whether a POM gives a jar a class path of files beside it."""
    for path in shipped.site.context_files():
        if posixpath.basename(path) == "pom.xml":
            try:
                content = shipped.site.read(path)
            except InputError:
                continue
            if re.search(rb"<classpathPrefix>|<goal>\s*copy-dependencies|<addClasspath>\s*true", content):
                return True
    return False


def dotnet(shipped: Shipped, words: Sequence[str], workdir: str) -> Draft:
    """The folder that ``dotnet publish`` fills."""
    runs = posixpath.normpath(posixpath.join(workdir, words[1]))
    outputs = {
        output_of(command)
        for run in shipped.runs
        for command in run.script.commands
        if command.name == "dotnet" and "publish" in command.words
    }
    out = next((folder for folder in outputs if folder and runs.startswith(folder + "/")), None)
    if out is None:
        raise CannotSplitError("no `dotnet publish -o` makes the program that runs")
    draft = _of_runtime(shipped)
    draft.take(out)
    draft.says = f"`{out}` is published as before and copied into {draft.base}, alone."
    draft.reasons.append("a program that is no web application also runs on the smaller dotnet/runtime image")
    return draft


def _of_runtime(shipped: Shipped) -> Draft:
    assert shipped.base is not None
    if not shipped.base.runtime:
        raise CannotSplitError(f"no runtime image is known for {shipped.base_named}")
    build = build_name(shipped)
    return Draft(shipped.base.runtime[0], last_work(shipped.stage), build, build)
