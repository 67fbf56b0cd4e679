"""Maven, Gradle and sbt.

Where they look: https://maven.apache.org/pom.html, https://docs.gradle.org/current/userguide/organizing_gradle_projects.html
and https://www.scala-sbt.org/1.x/docs/Directories.html. Gradle and sbt builds are programs: static statements are read.
"""

from __future__ import annotations

import re

from coach.manifests.files import Element, at, join, parent, upwards
from coach.manifests.gather import Closure, Gather, Request, shown, values

MANAGERS = frozenset(("maven", "mvn", "gradle", "sbt"))

_MOST_MODULES = 2_000
_OFFLINE_GOALS = ("dependency:", "org.apache.maven.plugins:maven-dependency-plugin", "de.qaware.maven")
_GRADLE_QUIET = frozenset(("dependencies", "buildEnvironment", "help", "tasks", "projects", "wrapper", "properties"))
_GRADLE_DOWNLOAD = re.compile(r"download|resolve|dependenc|prefetch|^fetch", re.I)
_GRADLE_SOURCES = re.compile(
    r"""\b(?:files|fileTree)\s{0,4}\(\s{0,4}(?:dir\s{0,4}[:=]\s{0,4})?['"]([^'"$\n]{1,200})['"]"""
)
_GRADLE_BUILDS = re.compile(r"""\bincludeBuild\s{0,4}\(?\s{0,4}['"]([^'"$\n]{1,200})['"]""")
_GRADLE_APPLIED = re.compile(r"""\bapply\s{0,4}\(?\s{0,4}from\s{0,4}[:=]\s{0,4}['"]([^'"\n]{1,200})['"]""")
_GRADLE_READS = re.compile(r"\bfile\s{0,4}\(\s{0,4}['\"]([^'\"$\n]{1,200})['\"]")


def closure(request: Request) -> Closure | None:
    """The closure of a Maven, Gradle or sbt command; raises nothing."""
    gather = Gather(request)
    read = {"gradle": _gradle, "sbt": _sbt}.get(request.manager, _maven)
    return read(gather, request.directory)


def _finish(gather: Gather, lock: str | None = None) -> Closure:
    if None in gather.words:
        gather.doubt("a word of the command is not known before it runs")
    return gather.closure(lock)


# -------------------------------------------------------------------------------------------------------------- maven


def _maven(gather: Gather, directory: str) -> Closure | None:
    named = values(gather.words, "-f", "--file")
    path: str | None = at(directory, "pom.xml")
    if named:
        path = gather.locate(named[0], directory)
        if path is not None and gather.has_dir(path):
            path = at(path, "pom.xml")
    if path is None or not gather.has(path):
        return None
    _poms(gather, path)
    for above in upwards(parent(path), gather.context):
        gather.add_dir(at(above, ".mvn"))
    gather.add_all(directory, ("mvnw",))
    for settings in values(gather.words, "-s", "--settings", "-gs", "--global-settings", "-t", "--toolchains"):
        if settings is not None:
            target = gather.locate(settings, directory)
            if not gather.add(target):
                gather.need(directory, settings)
    goals = [word for word in gather.words[1:] if word is not None and not word.startswith("-")]
    goals = [
        goal for goal in goals if goal not in values(gather.words, "-f", "-s", "-pl", "-P", "-T", "-l", "-gs", "-t")
    ]
    phases = [
        goal for goal in goals if not goal.startswith(_OFFLINE_GOALS) and not goal.startswith(("help:", "versions:"))
    ]
    if phases:
        gather.reads(f"`mvn {shown(phases[-1])}` builds the project")
    elif len(gather.members) > 0:
        gather.doubt(
            "modules that depend on one another cannot be resolved before they are built by maven-dependency-plugin 2, "
            "which Maven 3.8 and older take when no version is named",
            path,
            gather.line(path, "<module"),
        )
    return _finish(gather)


def _poms(gather: Gather, first: str) -> None:
    todo, seen = [first], set[str]()
    while todo and len(seen) < _MOST_MODULES:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        directory = parent(path)
        if path != first:
            gather.members.add(directory)
        gather.add(path)
        root = gather.xml(path)
        project = root.child("project") if root is not None else None
        if project is None:
            continue
        above = project.child("parent")
        if above is not None:
            stated = above.child("relativePath")
            relative = stated.text.strip() if stated is not None else "../pom.xml"
            target = join(directory, relative) if relative else None
            if target is not None and gather.has_dir(target):
                target = at(target, "pom.xml")
            if target is not None and gather.has(target):
                todo.append(target)
        for modules in (*project.all("modules"), *project.all("subprojects")):
            for module in modules.children:
                name = module.text.strip()
                target = join(directory, name)
                if target is not None and gather.has_dir(target):
                    target = at(target, "pom.xml")
                if target is None or not gather.has(target):
                    gather.doubt(f"module `{shown(name)}` has no pom.xml in the build context", path, module.line)
                else:
                    todo.append(target)
        _local_repositories(gather, directory, path, project)
    gather.members.discard(parent(first))


def _local_repositories(gather: Gather, directory: str, path: str, project: Element) -> None:
    texts = [(element.line, element.text.strip()) for name in ("systemPath", "url") for element in project.all(name)]
    for line, text in texts:
        place = re.match(r"(?:file:/*)?\$\{(?:project\.)?(?:basedir|baseUri)\}/*(.+)", text)
        if place is not None:
            gather.need(directory, place[1], path, line)


# ------------------------------------------------------------------------------------------------------------- gradle


def _gradle(gather: Gather, directory: str) -> Closure | None:
    moved = values(gather.words, "-p", "--project-dir")
    if moved:
        target = gather.locate(moved[0], directory)
        if target is None:
            gather.doubt("the directory the command works in cannot be told")
        else:
            directory = target
    settings = ("settings.gradle", "settings.gradle.kts", "settings.gradle.dcl")
    root = next(
        (p for p in upwards(directory, gather.context) if any(gather.has(at(p, n)) for n in settings)), directory
    )
    scripts = [
        path
        for path in gather.below(root)
        if path.endswith((".gradle", ".gradle.kts", ".gradle.dcl"))
        and "/src/" not in f"/{path[len(root) :]}"
        and gather.has(path)
    ]
    if not any(parent(path) in (root, directory) for path in scripts):
        return None
    for path in scripts:
        gather.add(path)
        gather.add_all(parent(path), ("gradle.properties", "gradle.lockfile", "settings-gradle.lockfile"))
        _gradle_script(gather, root, path)
    gather.members.update(parent(path) for path in scripts if parent(path) != root and "build.gradle" in path)
    gather.add_all(root, ("gradle.properties", "gradlew", ".java-version", ".sdkmanrc"))
    for name in ("gradle", "buildSrc"):
        gather.add_dir(at(root, name))
    tasks = [word for word in gather.words[1:] if word is not None and not word.startswith("-")]
    built = [task for task in tasks if task.rpartition(":")[2] not in _GRADLE_QUIET and task not in moved]
    if built and all(_GRADLE_DOWNLOAD.search(task) for task in built):
        gather.doubt(f"task `{shown(built[-1])}` is the build's own, and taken for one that only downloads")
    elif built:
        gather.reads(f"`gradle {shown(built[-1])}` may compile the project's source")
    lock = at(root, "gradle.lockfile")
    return _finish(gather, lock if gather.has(lock) else None)


def _gradle_script(gather: Gather, root: str, path: str) -> None:
    directory = parent(path)
    text = gather.text(path) or ""
    text = "\n".join("" if line.lstrip().startswith("//") else line for line in text.splitlines())
    for match in _GRADLE_BUILDS.finditer(text):
        gather.need(directory, match[1], path, text.count("\n", 0, match.start()) + 1)
    for match in _GRADLE_APPLIED.finditer(text):
        relative = re.sub(r"^\$(?:\{rootDir\}|rootDir|\{rootProject\.projectDir\})/", "", match[1])
        line = text.count("\n", 0, match.start()) + 1
        if "://" in relative:
            continue
        if "$" in relative:
            gather.doubt("a script whose path is computed is applied", path, line)
        else:
            gather.need(root if relative != match[1] else directory, relative, path, line)
    for match in (*_GRADLE_SOURCES.finditer(text), *_GRADLE_READS.finditer(text)):
        target = join(directory, match[1])
        if match[1].endswith((".jar", ".aar", "libs", "lib")):
            gather.add_dir(target) or gather.add(target)
        elif target is not None and "/src/" not in f"/{target[len(root) :]}/" and gather.has(target):
            gather.add(target)


# ---------------------------------------------------------------------------------------------------------------- sbt


def _sbt(gather: Gather, directory: str) -> Closure | None:
    found = [at(directory, name) for name in gather.children(directory) if name.endswith(".sbt")]
    if not found and not gather.has(at(directory, "project/build.properties")):
        return None
    for path in found:
        gather.add(path)
    for path in gather.below(at(directory, "project")):
        if path.endswith((".sbt", ".scala", ".properties")) and "/target/" not in path:
            gather.add(path)
    for path in gather.below(directory):
        if path.endswith("/build.sbt"):
            gather.add(path)
            gather.members.add(parent(path))
    gather.add_all(directory, (".sbtopts", ".jvmopts", "sbt", ".scalafmt.conf"))
    tasks = [word for word in gather.words[1:] if word is not None and not word.startswith("-")]
    if [task for task in tasks if task.rpartition("/")[2] not in ("update", "reload", "exit", "sbtVersion", "about")]:
        gather.reads(f"`sbt {shown(tasks[-1])}` may compile the project's source")
    return _finish(gather)
