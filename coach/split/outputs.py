"""Where the builds of a Node project leave what runs, and what else a program may read when it does."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property

from coach.errors import InputError
from coach.manifests.node_facts import NodeFacts
from coach.shell import parse
from coach.site import Site
from coach.split import workspace
from coach.split.workspace import Job, UntoldError, Workspace, uncommented

_DEEPEST = 6
_MOST_EXTRA = 8
_NEUTRAL = frozenset(
    {
        "eslint",
        "prettier",
        "rimraf",
        "rm",
        "mkdir",
        "echo",
        "cp",
        "copyfiles",
        "cpx",
        "cpy",
        "tsc-alias",
        "chmod",
        "true",
        ":",
    }
    | {
        "cd",
        "export",
        "set",
        "npm-run-all",
        "vitest",
        "jest",
        "vue-tsc",
        "tsc-files",
        "chown",
        "touch",
        "mv",
        "exit",
        "test",
    }
    | {"cat", "ls", "del-cli", "del", "biome", "stylelint", "resolve-tspaths", "[", "shx"}
)
_PEELED = frozenset({"npx", "bunx", "cross-env", "cross-env-shell", "dotenv", "env"})
_BUNDLERS = frozenset(
    {"vite", "webpack", "next", "rollup", "react-scripts", "esbuild", "tsup", "ncc", "astro", "nuxt", "nuxi"}
)
_FIXED = {
    "next": ".next",
    "react-scripts": "build",
    "astro": "dist",
    "nuxt": ".output",
    "nuxi": ".output",
    "nest": "dist",
}
_OUT_FLAGS = {
    "tsc": ("--outDir",),
    "vite": ("--outDir",),
    "esbuild": ("--outdir",),
    "swc": ("-d", "--out-dir"),
    "babel": ("-d", "--out-dir"),
    "tsup": ("-d", "--out-dir"),
    "webpack": ("-o", "--output-path"),
    "rollup": ("-d", "--dir"),
    "ncc": ("-o", "--out"),
    "bun": ("--outdir",),
}
_LITERAL = {
    "vite": r"\boutDir\s*:\s*['\"]([\w./-]+)['\"]",
    "tsup": r"\boutDir\s*:\s*['\"]([\w./-]+)['\"]",
    "webpack": r"\bpath\s*:\s*path\.(?:resolve|join)\(\s*__dirname\s*,\s*['\"]([\w./-]+)['\"]\s*\)",
    "rollup": r"\bdir\s*:\s*['\"]([\w./-]+)['\"]",
}
_MOVED = {
    "vite": r"\boutDir\b|\broot\s*:|\bssr\b|\bsveltekit\b|\bremix\b|\breactRouter\b",
    "tsup": r"\boutDir\b",
    "webpack": r"\bpath\s*:",
    "rollup": r"\b(?:dir|file)\s*:",
}
_DEFAULT = {"vite": "dist", "tsup": "dist", "webpack": "dist", "ncc": "dist"}
# What no program reads when it runs, by its usual name: manifests, settings of tools, prose, tests.
_TOOLING = re.compile(
    r"\..*|package\.json|package-lock\.json|npm-shrinkwrap\.json|pnpm-(?:lock|workspace)\.yaml|yarn\.lock|bun\.lockb?|"
    r"[^/]*\.(?:md|mdx|tsx?|mts|cts|log|pem|key|tsbuildinfo|sh|bat|ps1|nix|lock)|(?:licen[sc]e|notice|authors|readme|changelog|"
    r"codeowners|dockerfile|containerfile|makefile|justfile|procfile|jenkinsfile)[^/]*|[^/]*\.dockerfile|tsconfig[^/]*\.json|"
    r"jsconfig\.json|[^/]*\.config\.[^/]+|[^/]*\.(?:workspace|setup)\.[cm]?[jt]s|(?:docker-)?compose[^/]*\.ya?ml|docker-bake\.[^/]+|"
    r"(?:nest-cli|turbo|nx|lerna|biome|renovate|cypress|typedoc|project|workspace|jest|nodemon|components|vercel|angular)\.json|"
    r"(?:jest|babel|webpack|rollup|gulpfile|gruntfile|vitest|karma|vite|tailwind|postcss|commitlint|prettier|eslint)[^/]*\.[cm]?js|"
    r"(?:codecov|renovate|netlify|fly|render|cloudbuild|azure-pipelines|bitbucket-pipelines|appveyor|skaffold|mkdocs)\.(?:ya?ml|toml)",
    re.I,
)
_IDLE = re.compile(
    r"\..*|node_modules|tests?|__tests__|__mocks__|specs?|e2e|docs?|scripts?|examples?|typings|@?types|tools|cypress|coverage|"
    r"stories|benchmarks?|bench|patches|deploy|deployment|k8s|helm|charts?|terraform|infra|ci|docker|\.github",
    re.I,
)
_CODE = re.compile(
    r"\.(?:tsx?|mts|cts|md|mdx|snap|map|tsbuildinfo)$|(?:^|/)\.[^/]*$|(?:^|/)(?:tsconfig[^/]*|project)\.json$"
)
_ASSETS = re.compile(r"\.(?:css|scss|sass|less|styl|vue|svelte|jsx)$")
_SCRIPT = re.compile(r"\.(?:[cm]?js|jsx)$")


@dataclass
class Builds:
    """The builds of a workspace, followed from its commands into scripts: which folder each package's tools fill.

    ``found`` maps a package's directory to folders relative to it.
    """

    site: Site
    packages: Mapping[str, NodeFacts]
    found: dict[str, set[str]] = field(default_factory=dict)
    bundled: set[str] = field(default_factory=set)
    plain_js: set[str] = field(default_factory=set)
    _seen: set[tuple[str, str]] = field(default_factory=set)

    @cached_property
    def space(self) -> Workspace:
        return Workspace(self.site, self.packages)

    def command(self, words: Sequence[str | None], directory: str, depth: int = 0) -> None:
        """Take in one command. Raises ``UntoldError``."""
        texts = [word if word is not None else "\0" for word in words]
        while texts and (posixpath.basename(texts[0]) in _PEELED or re.match(r"[A-Za-z_]\w*=", texts[0])):
            texts = texts[1:]
            while texts and texts[0].startswith("-"):
                texts = texts[1:]
        if not texts:
            return
        if depth > _DEEPEST:
            raise UntoldError("its scripts call each other too deeply")
        name = posixpath.basename(texts[0])
        if name in ("npm", "pnpm", "yarn", "bun"):
            self._manager(name, texts[1:], directory, depth)
        elif name in ("turbo", "nx", "lerna"):
            self._runner(name, texts[1:], depth)
        elif name in ("run-s", "run-p"):
            for script in texts[1:]:
                if not script.startswith("-"):
                    self._script(directory, script, depth)
        elif name == "prisma" or name in _NEUTRAL:
            return
        else:
            self._tool(name, texts[1:], directory)

    # ---- who calls whom

    def _manager(self, name: str, rest: Sequence[str], directory: str, depth: int) -> None:
        chosen: list[str] = []
        plain: list[str] = []
        everywhere = "\0" in rest
        if everywhere:
            raise UntoldError("a word of the build command is a variable")
        words = iter(rest)
        for word in words:
            if word in ("--filter", "-F", "-w", "--workspace"):
                value = next(words, "")
                if name == "pnpm" and word == "-w":
                    plain.append(value)  # pnpm's -w is the workspace root
                    directory = next(iter(self.packages))
                else:
                    chosen.append(value)
            elif word.startswith(("--filter=", "--workspace=")):
                chosen.append(word.partition("=")[2])
            elif word in ("-r", "--recursive", "--workspaces", "-ws"):
                everywhere = True
            elif word in ("-C", "--dir", "--prefix", "--cwd"):
                directory = posixpath.normpath(posixpath.join(directory or ".", next(words, "")))
                directory = "" if directory == "." else directory
            elif not word.startswith("-"):
                plain.append(word)
        if name == "yarn" and plain[:2] in (["workspaces", "run"], ["workspaces", "foreach"]):
            everywhere, plain = True, plain[2:]
        elif name == "yarn" and plain[:1] == ["workspace"] and len(plain) > 1:
            chosen, plain = [plain[1]], plain[2:]
        if plain[:1] in (["ci"], ["install"], ["i"], ["cache"], ["config"], ["prune"], ["rebuild"], ["store"], []):
            return
        if plain[:1] in (["exec"], ["x"], ["dlx"]):
            if chosen or everywhere:
                raise UntoldError(f"`{name} {plain[0]}` runs over several packages")
            self.command(plain[1:], directory, depth + 1)
            return
        if name == "bun" and plain[:1] == ["build"]:
            self._tool("bun", rest, directory)
            return
        if plain[:1] in (["run"], ["run-script"]):
            plain = plain[1:]
        if not plain:
            return
        script = plain[0]
        if chosen:
            for package in self.space.picked(chosen):
                if script in self._facts(package).scripts or not any(one.endswith("...") for one in chosen):
                    self._script(package, script, depth)
        elif everywhere:
            for package in self.space.members:
                if script in self.packages[package].scripts:
                    self._script(package, script, depth)
        elif script in self._facts(directory).scripts:
            self._script(directory, script, depth)
        elif name == "npm":
            raise UntoldError(f"there is no script `{script}`")
        else:
            self.command([script, *rest[rest.index(script) + 1 :]], directory, depth + 1)

    def _runner(self, name: str, rest: Sequence[str], depth: int) -> None:
        if name == "lerna":
            if any(word.startswith(("--scope", "--since", "--ignore", "--include", "--exclude")) for word in rest):
                raise UntoldError("`lerna` builds a choice of packages")
            script = next((word for word in rest if not word.startswith("-") and word not in ("run", "exec")), "build")
            jobs = [Job(package, script) for package in self.space.members]
        else:
            jobs = (workspace.turbo if name == "turbo" else workspace.nx)(self.space, rest)
        for job in jobs:
            if job.fills:
                self.found.setdefault(self.space.root, set()).update(job.fills)
            elif job.script in self._facts(job.directory).scripts:
                self._script(job.directory, job.script, depth)

    def _facts(self, directory: str) -> NodeFacts:
        facts = self.packages.get(directory)
        if facts is None:
            raise UntoldError(f"{directory or 'the context'} holds no package of the workspace")
        return facts

    def _script(self, directory: str, script: str, depth: int) -> None:
        scripts = self._facts(directory).scripts
        if script not in scripts:
            raise UntoldError(f"there is no script `{script}`")
        for name in (f"pre{script}", script, f"post{script}"):
            if name not in scripts or (directory, name) in self._seen:
                continue
            self._seen.add((directory, name))
            parsed = parse(scripts[name], cwd=f"/{directory}")
            if parsed.broken:
                raise UntoldError(f"the script `{name}` cannot be read")
            for command in parsed.commands:
                if command.name is None:
                    continue
                here = (command.cwd or f"/{directory}").strip("/")
                self.command(command.words, here, depth + 1)

    # ---- where a tool writes

    def _tool(self, name: str, rest: Sequence[str], directory: str) -> None:
        self._facts(directory)
        if name in ("next", "vite", "nest", "astro", "nuxt", "nuxi", "react-scripts", "ncc") and rest[:1] != ["build"]:
            raise UntoldError(f"`{name}` is no build that is known")
        if name in _BUNDLERS:
            self.bundled.add(directory)
        if name in ("swc", "babel", "tsc"):
            self.plain_js.add(directory)
        out = _flag(rest, _OUT_FLAGS.get(name, ()))
        if name in ("esbuild", "bun") and out is None:
            file = _flag(rest, ("--outfile",))
            out = posixpath.dirname(file) if file else None
        if out is None and name == "tsc":
            if "--noEmit" in rest:
                return
            out = self._tsc(rest, directory)
            if out == "\0":
                return
        elif out is None:
            out = self._configured(name, directory)
        if out is None:
            raise UntoldError(f"where `{name}` writes is not known")
        out = posixpath.normpath(out)
        if out in (".", "") or out.startswith(("..", "/", "~")) or "$" in out:
            raise UntoldError(f"`{name}` writes outside of a folder of its own")
        self.found.setdefault(directory, set()).add(out)

    def _configured(self, name: str, directory: str) -> str | None:
        text = ""
        for ending in ("ts", "js", "mjs", "cjs", "mts"):
            text += self._text(directory, f"{name}.config.{ending}")
        if name == "next":
            if re.search(r"\bdistDir\b", text):
                return None
            return "out" if re.search(r"\boutput\s*:\s*['\"]export['\"]", text) else ".next"
        if name == "nest":
            if re.search(r'"projects"|"monorepo"', self._text(directory, "nest-cli.json")):
                return None
            return self._config_out(directory, "tsconfig.build.json", 0) or self._config_out(
                directory, "tsconfig.json", 0
            )
        literal = re.findall(_LITERAL[name], text) if name in _LITERAL else []
        if len(set(literal)) == 1 and not (name == "vite" and re.search(r"\broot\s*:", text)):
            return str(literal[0])
        if name in _MOVED and re.search(_MOVED[name], text):
            return None
        return _DEFAULT.get(name) or _FIXED.get(name)

    def _tsc(self, rest: Sequence[str], directory: str) -> str | None:
        if {"-b", "--build"} & set(rest):
            return None
        config = _flag(rest, ("-p", "--project")) or "tsconfig.json"
        if not config.endswith(".json"):
            config = posixpath.join(config, "tsconfig.json")
        options = self._options(directory, config, 0)
        if options.get("noEmit") is True:
            return "\0"
        return self._config_out(directory, config, 0)

    def _config_out(self, directory: str, config: str, depth: int) -> str | None:
        """``outDir`` of a tsconfig, relative to ``directory``; the file that says it is what it is relative to."""
        data = self._json(directory, config)
        options = data.get("compilerOptions")
        out = options.get("outDir") if isinstance(options, dict) else None
        if isinstance(out, str):
            return posixpath.normpath(posixpath.join(posixpath.dirname(config), out))
        parent = data.get("extends")
        if isinstance(parent, str) and parent.startswith(".") and depth < _DEEPEST:
            named = posixpath.normpath(posixpath.join(posixpath.dirname(config), parent))
            return self._config_out(directory, named if named.endswith(".json") else f"{named}.json", depth + 1)
        return None

    def _options(self, directory: str, config: str, depth: int) -> dict[str, object]:
        data = self._json(directory, config)
        options = data.get("compilerOptions")
        own: dict[str, object] = dict(options) if isinstance(options, dict) else {}
        parent = data.get("extends")
        if isinstance(parent, str) and parent.startswith(".") and depth < _DEEPEST:
            named = posixpath.normpath(posixpath.join(posixpath.dirname(config), parent))
            return {**self._options(directory, named if named.endswith(".json") else f"{named}.json", depth + 1), **own}
        return own

    def _json(self, directory: str, name: str) -> dict[str, object]:
        text = self._text(directory, name)
        try:
            data = json.loads(re.sub(r",(\s*[}\]])", r"\1", uncommented(text))) if text else {}
        except (ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}

    def _text(self, directory: str, name: str) -> str:
        path = posixpath.normpath(posixpath.join(directory or ".", name))
        try:
            content = self.site.read(path) if self.site.has(path) else b""
        except InputError:
            return ""
        return content.decode("utf-8", "replace") if len(content) < 1_000_000 else ""


def _flag(rest: Sequence[str], names: Sequence[str]) -> str | None:
    for at, word in enumerate(rest):
        if word in names and at + 1 < len(rest):
            return rest[at + 1]
        for name in names:
            if name.startswith("--") and word.startswith(f"{name}="):
                return word.partition("=")[2]
    return None


def extras(builds: Builds, files: Iterable[str]) -> list[str]:
    """Repository paths, files and whole folders, that are neither source, tooling nor built, so may be read.

    ``files`` are those of the build context. Raises ``UntoldError`` where there are too many to be a short list.
    """
    tops: dict[tuple[str, str], list[str]] = {}
    for path in files:
        root: str | None = posixpath.dirname(path)
        while root is not None and root not in builds.packages:
            root = posixpath.dirname(root) if root else None
        if root is not None:
            rest = path[len(root) :].lstrip("/")
            tops.setdefault((root, rest.split("/", 1)[0]), []).append(rest)
    found = []
    for (root, top), inside in sorted(tops.items()):
        outs = builds.found.get(root, set())
        if any(top == out.split("/", 1)[0] for out in outs):
            continue
        folder = inside != [top]
        if _IDLE.fullmatch(top) if folder else _TOOLING.fullmatch(top):
            continue
        bundled = root in builds.bundled and "next" not in builds.packages[root].framework
        if bundled and (top in ("public", "index.html", "src", "assets", "static")):
            continue
        if folder and not any(_read(builds, root, path) for path in inside):
            continue
        found.append(posixpath.join(root, top))
    if len(found) > _MOST_EXTRA:
        raise UntoldError(f"{len(found)} other files and folders may be read when it runs")
    return found


def _read(builds: Builds, root: str, path: str) -> bool:
    """Whether one file of a folder is something that a program may read or load when it runs."""
    if _CODE.search(path) or any(fnmatchcase(path, pattern) for pattern in ("*.test.*", "*.spec.*", "*__tests__*")):
        return False
    if _SCRIPT.search(path):
        return root not in builds.plain_js and root not in builds.bundled
    return not (_ASSETS.search(path) and root in builds.bundled)


def sources_run(packages: Mapping[str, NodeFacts], site: Site, builds: Builds) -> str:
    """A package of the workspace that is used as TypeScript sources, "" when there is none."""
    for directory, facts in list(packages.items())[1:]:
        if directory in builds.found:
            continue
        try:
            text = site.read(facts.path).decode("utf-8", "replace") if facts.path else ""
        except InputError:
            text = ""
        if re.search(r'"(?:main|exports|module|default|import|require|\.)"\s*:\s*"[^"]+\.tsx?"', text):
            return facts.name or directory
    return ""
