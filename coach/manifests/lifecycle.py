"""What the lifecycle scripts of a package.json need at install time, as far as it stands written."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from coach.manifests.files import join, line_of, parent, strings, table
from coach.manifests.gather import Gather, Request, flag, shown, values

_LONGEST = 5_000
_DEEPEST = 8
_MOST_FILES = 60


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_HARMLESS = _names(
    """
    : [ chmod command echo exit false lefthook mkdir node-gyp-build opencollective opencollective-postinstall
    only-allow pinst printf pre-commit rimraf rm simple-git-hooks sleep test touch true type which husky husky-run
    is-ci del del-cli check-node-version check-engine check-engines node-pre-gyp prebuild-install yarn-deduplicate
    electron-builder ngcc esbuild-install puppeteer playwright cypress link-parent-bin skip-postinstall
    """
)
_READS_SOURCE = _names(
    """
    tsc tsup tsdown next vite webpack rollup esbuild turbo nx ng nest babel swc parcel gulp grunt unbuild vue-tsc
    nuxt nuxi svelte-kit astro remix react-router gatsby expo ember react-scripts vue-cli-service microbundle ncc
    jest mocha vitest eslint prettier graphql-codegen openapi preconstruct bob lerna wireit wsrun ttsc tspc rslib
    rsbuild rspack node-gyp cmake-js cargo make gradle payload strapi craco quasar stencil ultra vuepress docusaurus
    tailwindcss sass sass-embedded lessc postcss browserify fumadocs-mdx contentlayer velite paraglide-js panda
    i18next typechain hardhat forge buf protoc pbjs relay-compiler lingui typesafe-i18n tap ava
    """
)
_RUNNERS = frozenset(("node", "nodejs", "ts-node", "ts-node-esm", "tsx", "esno", "jiti", "babel-node"))
_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ash"))
_MANAGERS = frozenset(("npm", "yarn", "pnpm", "bun"))
_PEELED = frozenset(("env", "cross-env", "cross-env-shell", "sudo", "time", "nice", "npx", "bunx", "pnpx", "exec"))
_ASSIGNED = re.compile(r"[A-Za-z_]\w*=")
_OPERATOR = re.compile(r"[&|;]+|[()]|\n")
_REDIRECT = re.compile(r"\d*[<>]+&?\d*")
_IMPORT = re.compile(
    r"""(?:\brequire(?:\.resolve)?\s{0,4}\(|\bimport\s{0,4}\(|\bfrom|\bimport)\s{0,4}['"](\.[^'"\n]{0,200})['"]"""
)
_LOOKS_AROUND = re.compile(
    r"\b(?:read(?:File|dir|JSON|Json)|createReadStream|exists|pathExists|copyFile|copy|cp|move|glob|exec|execFile|spawn|fork)"
    r"(?:Sync)?\s{0,4}\(|\bprocess\.cwd\b|\brequire\s{0,4}\(\s{0,4}[^'\"\s)]|child_process"
    r"|['\"](?:fs-extra|globby|fast-glob|shelljs|execa|zx|cpy)['\"]"
)
_NAMED_NEARBY = re.compile(r"""['"`](\.{1,2}/[\w@.+/-]{0,200})(\$\{|['"`*])""")


@dataclass
class Scripts:
    """The scripts of one package.json, with what has been followed already."""

    gather: Gather
    directory: str
    path: str
    scripts: Mapping[str, object]
    manifest: Mapping[str, object]
    followed: set[str] = field(default_factory=set)

    def run(self, name: str, depth: int = 0) -> None:
        """Take in what script ``name`` and its pre and post hooks need."""
        for hook in (f"pre{name}", name, f"post{name}") if depth else (name,):
            text = self.scripts.get(hook)
            if isinstance(text, str) and hook not in self.followed:
                self.followed.add(hook)
                self._script(hook, text, depth)

    def line(self, name: str) -> int:
        text = self.gather.text(self.path)
        at = text.find('"scripts"') if text else -1
        return line_of(text, f'"{name}"', max(at, 0))

    def _doubt(self, name: str, says: str) -> None:
        self.gather.doubt(f"script `{shown(name)}` {says}", self.path, self.line(name))

    def _reads(self, name: str, says: str) -> None:
        self.gather.reads(f"script `{shown(name)}` {says}", self.path, self.line(name))

    def _script(self, name: str, text: str, depth: int) -> None:
        if depth > _DEEPEST or len(text) > _LONGEST or "`" in text or "$(" in text:
            self._doubt(name, "is too involved to be followed")
            return
        try:
            lexer = shlex.shlex(text, posix=True, punctuation_chars="();<>|&\n")
            lexer.whitespace = " \t\r"
            lexer.whitespace_split = True
            lexer.commenters = ""
            words = list(lexer)
        except ValueError:
            self._doubt(name, "has quotes that do not close")
            return
        where: str | None = self.directory
        command: list[str] = []
        skip = False
        for word in [*words, ";"]:
            if skip:
                skip = False
            elif _OPERATOR.fullmatch(word):
                where = self._command(name, command, where, depth) if command else where
                command = []
            elif _REDIRECT.fullmatch(word):
                skip = not word[-1].isdigit()
            else:
                command.append(word)

    def _command(self, name: str, words: list[str], where: str | None, depth: int) -> str | None:
        """One simple command; returns the directory that the next one runs in."""
        words = _peel(words)
        if not words:
            return where
        program = words[0].rpartition("/")[2]
        rest = words[1:]
        if program == "cd":
            target = join(where, rest[0]) if rest and where is not None else None
            if target is None or "$" in rest[0]:
                self._doubt(name, "changes to a directory that cannot be told")
                return None
            return target
        if where is None:
            self._doubt(name, f"runs `{shown(program)}` in a directory that cannot be told")
        elif program in _MANAGERS:
            self._manager(name, program, rest, where, depth)
        elif program in ("run-s", "run-p", "npm-run-all", "npm-run-all2", "concurrently"):
            for script in rest:
                self._named(name, script.removeprefix("npm:"), depth)
        elif program in _RUNNERS or program in _SHELLS:
            self._file(name, program, rest, where)
        elif words[0].startswith(("./", "../")):
            self._file(name, program, words, where)
        elif program == "patch-package":
            patches = (values(tuple(rest), "--patch-dir") or ["patches"])[0]
            self.gather.add_dir(join(where, patches or "patches"))
        elif program == "prisma" and rest[:1] == ["generate"]:
            prisma(self.gather, where, self.manifest, (values(tuple(rest), "--schema") or [None])[0])
        elif program in ("cp", "mv", "ln", "cpx", "copyfiles", "shx", "cpy"):
            self._copied(name, rest, where)
        elif program == "husky" or (program == "git" and rest[:1] == ["config"]) or program in _HARMLESS:
            for word in rest if program in ("[", "test") else ():
                self.gather.add(join(where, word))
        elif program in _READS_SOURCE or program.startswith(("build", "compile")):
            self._reads(name, f"runs `{shown(program)}`, which reads the project's source")
        else:
            self._doubt(name, f"runs `{shown(program)}`, whose needs are not known")
        return where

    def _named(self, name: str, script: str, depth: int) -> None:
        if script.startswith("-"):
            return
        if script in self.scripts:
            if re.search(r"(?:^|:)(?:build|compile|bundle|typecheck|types)(?:$|:)", script):
                self._reads(name, f"runs the script `{shown(script)}`, which reads the project's source")
            else:
                self.run(script, depth + 1)
        else:
            self._doubt(name, f"runs the script `{shown(script)}`, which is not there")

    def _manager(self, name: str, program: str, rest: list[str], where: str, depth: int) -> None:
        prefix = values(tuple(rest), "--prefix", "--cwd", "-C", "--dir")
        plain = [word for word in rest if not word.startswith("-") and word not in prefix]
        target = join(where, prefix[0]) if prefix and prefix[0] else where
        verb = plain[0] if plain else "install" if program == "yarn" else ""
        if verb in ("ci", "install", "i", "clean-install") and (len(plain) < 2 or prefix):
            self._nested(name, program, [program, *rest], target)
        elif target != self.directory or flag(rest, "-r", "--recursive", "-w", "--workspaces", "--filter", "-F"):
            self._doubt(name, f"runs `{program}` over other packages")
        elif verb in ("run", "run-script", "rum") and len(plain) > 1:
            self._named(name, plain[1], depth)
        elif verb in ("test", "t", "start", "stop", "restart"):
            self._named(name, "test" if verb == "t" else verb, depth)
        elif verb in ("exec", "x", "dlx") and len(plain) > 1 and depth <= _DEEPEST:
            self._command(name, rest[rest.index(plain[1]) :], where, depth + 1)
        elif verb in ("rebuild", "config", "dedupe", "audit", "fund", "cache", "version", ""):
            return
        elif program != "npm" and verb in self.scripts:
            self._named(name, verb, depth)
        elif program == "bun" and verb.endswith((".js", ".ts", ".mjs", ".cjs")):
            self._file(name, "node", plain, where)
        elif program != "npm" and depth <= _DEEPEST and verb:
            self._command(name, rest[rest.index(verb) :], where, depth + 1)
        else:
            self._doubt(name, f"runs `{program} {shown(verb)}`, whose needs are not known")

    def _nested(self, name: str, program: str, words: list[str], target: str | None) -> None:
        from coach.manifests.node import closure

        request = self.gather.request
        if target is None or target == self.directory or target in self.gather.members:
            return
        if target in request.trail or len(request.trail) >= _DEEPEST:
            self._doubt(name, f"installs in `{shown(target)}`, which leads around in a circle")
            return
        plain = tuple(
            word for word in words if word != target and not word.startswith(("--prefix", "--cwd", "-C", "--dir"))
        )
        trail = (*request.trail, self.directory)
        inner = closure(Request(request.tree, program, plain, target, request.context, request.look, trail))
        if inner is None:
            self._doubt(name, f"installs in `{shown(target)}`, which has no manifest")
            return
        for path in inner.files:
            self.gather.add(path)
        for path in inner.directories:
            self.gather.add_dir(path)
        for says in inner.uncertain:
            self.gather.doubt(says)
        for says in inner.reads_source:
            self.gather.reads(says)

    def _file(self, name: str, program: str, words: list[str], where: str) -> None:
        if program in _RUNNERS:
            if flag(words, "-e", "--eval", "-p", "--print", "-pe"):
                if any("require(" in word and ("./" in word or "../" in word) for word in words) or any(
                    "readFile" in word or "child_process" in word for word in words
                ):
                    self._doubt(name, "evaluates code that reads files")
                return
            if flag(words, "-v", "--version"):
                return
            for loaded in values(tuple(words), "-r", "--require", "--import", "--loader"):
                if loaded and loaded.startswith("."):
                    self._follow(name, join(where, loaded))
        if program in _SHELLS and flag(words, "-c"):
            at = words.index("-c") + 1
            self._script(name, words[at] if at < len(words) else "", 1)
            return
        named = [word for word in words if not word.startswith("-")]
        target = join(where, named[0]) if named else None
        if target is None or "$" in named[0]:
            self._doubt(name, f"runs a file with `{shown(program)}` that cannot be told")
        elif "node_modules/" in named[0]:
            return
        elif program in _RUNNERS:
            self._follow(name, target)
        elif self.gather.add(target):
            if target.endswith((".js", ".mjs", ".cjs", ".ts")):
                self._follow(name, target)
            else:
                self._doubt(name, f"runs `{shown(target)}`, which may need further files")
        else:
            self._doubt(name, f"runs `{shown(target)}`, which is not in the repository")

    def _follow(self, name: str, target: str | None) -> None:
        """Take in a JavaScript file and what it requires by relative path."""
        if target is None:
            self._doubt(name, "runs a file outside the build context")
            return
        todo = [target]
        seen: set[str] = set()
        while todo and len(seen) < _MOST_FILES:
            wanted = todo.pop()
            path = _resolve(self.gather, wanted)
            if path is None:
                self._doubt(name, f"needs `{shown(wanted)}`, which is not in the repository")
                continue
            if path in seen:
                continue
            seen.add(path)
            self.gather.add(path)
            text = (self.gather.text(path) or "") if not path.endswith(".json") else ""
            for relative in dict.fromkeys(_IMPORT.findall(text)):
                inner = join(parent(path), relative)
                if inner is not None:
                    todo.append(inner)
            if _LOOKS_AROUND.search(text):
                self._nearby(path, text)
                self._doubt(name, f"runs `{shown(path)}`, which may read files or run programs of its own choice")
        if todo:
            self._doubt(name, "needs more files than are followed")

    def _nearby(self, path: str, text: str) -> None:
        """Take in what a file that reads others names by relative path; the folder where the name is made up there."""
        for named, end in dict.fromkeys(_NAMED_NEARBY.findall(_IMPORT.sub("", text))):
            whole = end in "'\"`"
            for origin in dict.fromkeys((parent(path), self.directory)):
                target = join(origin, named if whole else named.rpartition("/")[0])
                if target is None or (whole and self.gather.add(target)):
                    continue
                if not f"{self.directory}/".startswith(f"{target}/") and target not in ("", parent(path)):
                    self.gather.add_dir(target)

    def _copied(self, name: str, words: list[str], where: str) -> None:
        named = [word for word in words if not word.startswith("-") and word not in ("cp", "mv", "ln")]
        for word in named[:-1]:
            target = join(where, word)
            if any(letter in word for letter in "*?[${"):
                self._doubt(name, "copies files by a pattern")
            elif not (self.gather.add(target) or self.gather.add_dir(target)) and target == self.gather.context:
                self._reads(name, "copies the whole project")


def prisma(gather: Gather, directory: str, manifest: Mapping[str, object], schema: str | None = None) -> bool:
    """Take in the schema and configuration of ``prisma generate`` in ``directory``; says whether there is a schema.

    Where it looks: https://www.prisma.io/docs/orm/prisma-schema/overview/location
    """
    places = [*strings(schema), *strings(table(manifest, "prisma").get("schema"))]
    gather.add_all(directory, ("prisma.config.ts", "prisma.config.js", "prisma.config.mjs", ".config/prisma.ts"))
    for place in (*places, "prisma/schema.prisma", "schema.prisma", "prisma/schema"):
        target = join(directory, place)
        if gather.add(target) or (target != directory and gather.add_dir(target)):
            return True
    return False


def _peel(words: list[str]) -> list[str]:
    for _ in range(20):
        if not words:
            break
        program = words[0].rpartition("/")[2]
        if _ASSIGNED.match(words[0]) or program in ("!", "then", "do", "{", "}", "if", "else", "fi", "done"):
            words = words[1:]
        elif program in _PEELED:
            words = words[1:]
            while words and words[0].startswith("-"):
                words = words[2:] if words[0] in ("-p", "--package", "-c") else words[1:]
        elif program in ("dotenv", "env-cmd") and "--" in words:
            words = words[words.index("--") + 1 :]
        else:
            break
    return words


def _resolve(gather: Gather, path: str) -> str | None:
    endings = ("", ".js", ".cjs", ".mjs", ".ts", ".json", "/index.js", "/index.cjs", "/index.mjs", "/index.ts")
    return next((path + ending for ending in endings if gather.has(path + ending)), None)
