"""Node: npm, yarn (classic and berry), pnpm, bun.

What each install reads was measured by running it on the closure alone: npm 11, yarn 1.22 and 4, pnpm 9
and 10, bun 1.4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

from coach.manifests.files import at, join, strings, table, upwards
from coach.manifests.gather import Closure, Gather, Request, flag, shown, values
from coach.manifests.lifecycle import Scripts, prisma
from coach.model import Tree

MANAGERS = frozenset(("npm", "yarn", "yarn-classic", "yarn-berry", "pnpm", "bun"))

LOCKFILES: Mapping[str, tuple[str, ...]] = {
    "npm": ("npm-shrinkwrap.json", "package-lock.json"),
    "yarn": ("yarn.lock",),
    "berry": ("yarn.lock",),
    "pnpm": ("pnpm-lock.yaml",),
    "bun": ("bun.lock", "bun.lockb"),
}
SECTIONS = ("dependencies", "devDependencies", "optionalDependencies")
_INSTALL = ("preinstall", "install", "postinstall")
_PREPARE = ("preprepare", "prepare", "postprepare")
ROOT_STAGES: Mapping[str, tuple[str, ...]] = {
    "npm": (*_INSTALL, "prepublish", *_PREPARE),
    "yarn": (*_INSTALL, "prepublish", "prepare"),
    "berry": _INSTALL,
    "pnpm": ("pnpm:devPreinstall", *_INSTALL, *_PREPARE),
    "bun": (*_INSTALL, *_PREPARE),
}
MEMBER_STAGES: Mapping[str, tuple[str, ...]] = {
    "npm": (*_INSTALL, "prepare"),
    "yarn": _INSTALL,
    "berry": _INSTALL,
    "pnpm": (*_INSTALL, *_PREPARE),
    "bun": (*_INSTALL, "prepare"),
}
_PUPPETEER = tuple(f".puppeteerrc{ending}" for ending in ("", ".json", ".yaml", ".js", ".cjs", ".mjs")) + tuple(
    f"puppeteer.config.{ending}" for ending in ("js", "cjs", "mjs", "ts")
)
_MOST_PACKAGES = 3_000


def closure(request: Request) -> Closure | None:
    """The closure of an install by npm, yarn, pnpm or bun; raises nothing."""
    gather = Gather(request)
    directory = _start(gather)
    if directory is None:
        return None
    family = flavour(gather, directory)
    root = _root(gather, directory, family)
    lockfile = _lockfile(gather, root, family)
    if family == "pnpm" and _verb(request.words) == "fetch":
        return _fetch(gather, root, lockfile)
    if not gather.has(join(root, "package.json")) and not gather.add_all(root, ("package.yaml", "package.json5")):
        return None
    return _Install(gather, root, family, lockfile).closure()


def flavour(gather: Gather, directory: str) -> str:
    """``npm``, ``yarn`` (classic), ``berry``, ``pnpm`` or ``bun``: whose rules hold for an install in ``directory``."""
    if not gather.manager.startswith("yarn"):
        return gather.manager
    if gather.manager in ("yarn-classic", "yarn-berry"):
        return gather.manager.removeprefix("yarn-").replace("classic", "yarn")
    for above in upwards(directory, gather.context):
        if gather.has(join(above, ".yarnrc.yml")):
            return "berry"
        pinned = (gather.json(at(above, "package.json")) or {}).get("packageManager")
        if isinstance(pinned, str) and pinned.startswith("yarn@"):
            return "yarn" if pinned.startswith(("yarn@1.", "yarn@0.")) else "berry"
        lock = gather.text(at(above, "yarn.lock"))
        if lock is not None:
            return "berry" if "\n__metadata:" in lock[:2_000] else "yarn"
    return "yarn"


def berry(tree: Tree, directory: str, context: str) -> bool:
    """Whether yarn in ``directory`` is yarn 2 or later."""
    return flavour(Gather(Request(tree, "yarn", ("yarn",), directory, context)), directory) == "berry"


def members(gather: Gather, root: str, family: str) -> list[str]:
    """Directories of the workspace's packages below ``root``, without ``root`` itself."""
    if family == "pnpm":
        settings = table(gather.yaml(at(root, "pnpm-workspace.yaml")))
        found = gather.projects(root, "package.json", strings(settings.get("packages")), ordered=False)
        for odd in ("package.yaml", "package.json5"):
            found += gather.projects(root, odd, strings(settings.get("packages")), ordered=False)
        return [path for path in dict.fromkeys(found) if path != root]
    manifest = gather.json(at(root, "package.json")) or {}
    workspaces = manifest.get("workspaces")
    patterns = strings(table(workspaces).get("packages") if isinstance(workspaces, dict) else workspaces)
    found = gather.projects(root, "package.json", patterns)
    if family == "berry":
        for path in list(found):
            nested = (gather.json(f"{path}/package.json") or {}).get("workspaces")
            found += gather.projects(path, "package.json", strings(nested)) if nested else []
    return [path for path in dict.fromkeys(found) if path != root]


def _verb(words: tuple[str | None, ...]) -> str:
    return next((word for word in words[1:] if word is not None and not word.startswith("-")), "")


def _start(gather: Gather) -> str | None:
    """The directory the command works in, once options that move it are followed."""
    moved = values(gather.words, "--prefix", "--cwd", "-C", "--dir")
    directory = gather.request.directory
    if moved:
        target = gather.locate(moved[0])
        if target is None or not gather.has_dir(target):
            gather.doubt("the directory the command works in cannot be told")
        else:
            directory = target
    names = ("package.json", "package.yaml", "package.json5", "pnpm-lock.yaml")
    for above in upwards(directory, gather.context):
        if any(gather.has(join(above, name)) for name in names):
            return above
    return None


def _root(gather: Gather, directory: str, family: str) -> str:
    """The workspace root that an install in ``directory`` acts on, or ``directory`` itself."""
    own = any(gather.has(join(directory, name)) for name in LOCKFILES[family])
    if flag(gather.words, "--ignore-workspace", "--no-workspaces"):
        return directory
    for above in upwards(directory, gather.context):
        marked = (
            gather.has(join(above, "pnpm-workspace.yaml"))
            if family == "pnpm"
            else "workspaces" in (gather.json(at(above, "package.json")) or {})
        )
        if not marked:
            continue
        if above == directory or (not own and directory in members(gather, above, family)):
            return above
        if family == "pnpm":
            return directory
    return directory


def _lockfile(gather: Gather, root: str, family: str) -> str | None:
    found = gather.add_all(root, LOCKFILES[family])
    if not found and family in ("npm", "bun", "pnpm"):
        # npm and bun take what they can from another manager's lockfile when they have none of their own.
        others = {"npm": ("yarn.lock",), "bun": ("package-lock.json", "yarn.lock", "pnpm-lock.yaml"), "pnpm": ()}
        gather.add_all(root, others[family])
    if not found and (_verb(gather.words) in ("ci", "clean-install", "fetch") or _frozen(gather.words)):
        gather.doubt(f"no {' or '.join(LOCKFILES[family])} for an install that insists on one", root or ".")
    return found[0] if found else None


def _frozen(words: tuple[str | None, ...]) -> bool:
    return flag(words, "--frozen-lockfile", "--immutable")


def _fetch(gather: Gather, root: str, lockfile: str | None) -> Closure | None:
    # `pnpm fetch` reads no dependencies in package.json; without a patch that the lockfile names it stops half way.
    gather.add_all(root, (".npmrc", "pnpm-workspace.yaml"))
    if (gather.json(at(root, "package.json")) or {}).get("packageManager"):
        gather.add(at(root, "package.json"))  # which release of pnpm runs
    _patched(gather, root, "pnpm-workspace.yaml", table(gather.yaml(at(root, "pnpm-workspace.yaml"))))
    _patched(gather, root, "package.json", table(gather.json(at(root, "package.json")), "pnpm"))
    return gather.closure(lockfile)


def _patched(gather: Gather, root: str, path: str, settings: Mapping[str, object]) -> None:
    """Take in the patches of a ``patchedDependencies`` table."""
    patches = table(settings, "patchedDependencies")
    where = at(root, path)
    for name, patch in patches.items():
        for relative in strings(table(patch).get("path") if isinstance(patch, dict) else patch):
            gather.need(root, relative, where, gather.line(where, name))


class _Install:
    """One install at one workspace root."""

    def __init__(self, gather: Gather, root: str, family: str, lockfile: str | None) -> None:
        self.gather = gather
        self.root = root
        self.family = family
        self.lockfile = lockfile
        self.pnpm = table(gather.yaml(at(root, "pnpm-workspace.yaml"))) if family == "pnpm" else {}
        self.berry = table(gather.yaml(at(root, ".yarnrc.yml"))) if family == "berry" else {}
        self.settings = self._ini()
        self.todo: list[tuple[str, bool]] = []
        self.packages: dict[str, Mapping[str, object]] = {}
        self.by_name: dict[str, str] = {}

    def closure(self) -> Closure:
        inside = members(self.gather, self.root, self.family)
        self.gather.members.update(inside)
        self._configuration()
        self.todo = [(self.root, True), *((path, True) for path in inside)]
        while self.todo and len(self.packages) < _MOST_PACKAGES:
            directory, scripted = self.todo.pop(0)
            if directory not in self.packages:
                self._package(directory, scripted and self._scripts_run())
        if self.todo:
            self.gather.doubt("more packages than are followed", self.root or ".")
        if None in self.gather.words:
            self.gather.doubt("a word of the command is not known before it runs")
        return self.gather.closure(self.lockfile)

    def _ini(self) -> dict[str, str]:
        """``.npmrc`` (and ``.yarnrc`` of yarn classic) as lower-case key and value."""
        found: dict[str, str] = {}
        for name in (".npmrc", ".yarnrc"):
            if name == ".yarnrc" and self.family != "yarn":
                continue
            for line in (self.gather.text(at(self.root, name)) or "").splitlines():
                key, mark, value = line.partition("=") if name == ".npmrc" else line.strip().partition(" ")
                if mark and not key.lstrip().startswith(("#", ";")):
                    found[key.strip().strip('"').lower()] = value.strip().strip("\"'")
        return found

    def _scripts_run(self) -> bool:
        words = self.gather.words
        if flag(words, "--ignore-scripts", "--mode=skip-build") or "skip-build" in values(words, "--mode"):
            return False
        if self.family == "berry":
            return True
        off = (self.settings.get("ignore-scripts"), self.settings.get("--install.ignore-scripts"))
        return "true" not in off and self.pnpm.get("ignoreScripts") is not True

    def _configuration(self) -> None:
        gather, root = self.gather, self.root
        names = {
            "npm": (".npmrc",),
            "yarn": (".npmrc", ".yarnrc", ".yarnclean"),
            "berry": (".yarnrc.yml", ".pnp.cjs", ".pnp.js", ".pnp.loader.mjs", ".env.yarn"),
            "pnpm": (".npmrc", "pnpm-workspace.yaml", ".pnpmfile.cjs", ".pnpmfile.mjs", "pnpmfile.js"),
            "bun": ("bunfig.toml", ".npmrc"),
        }
        gather.add_all(root, names[self.family])
        ini = at(root, ".npmrc")
        for key in ("cafile", "certfile", "keyfile", "pnpmfile", "yarn-offline-mirror", "yarn-path"):
            value = self.settings.get(key)
            if value and not value.startswith(("/", "~", "$")):
                where = at(root, ".yarnrc") if key.startswith("yarn-") else ini
                gather.need(root, value, where, gather.line(where, key))
        if self.family == "pnpm":
            self._hooks()
            _patched(gather, root, "pnpm-workspace.yaml", self.pnpm)
            self._overrides(root, at(root, "pnpm-workspace.yaml"), self.pnpm.get("overrides"))
        if self.family == "berry":
            self._yarnrc()

    def _hooks(self) -> None:
        for name in (".pnpmfile.cjs", ".pnpmfile.mjs"):
            path = join(self.root, name)
            text = self.gather.text(path or "")
            for relative in re.findall(r"""require\(\s{0,4}['"](\.[^'"\n]{1,200})['"]""", text or ""):
                for ending in ("", ".js", ".cjs", ".json", "/index.js"):
                    if self.gather.add(join(self.root, relative + ending)):
                        break
                else:
                    self.gather.doubt(f"`{shown(relative)}` is not in the repository", path or "", 1)

    def _yarnrc(self) -> None:
        gather, root, where = self.gather, self.root, at(self.root, ".yarnrc.yml")
        named = strings(self.berry.get("yarnPath"))
        plugins = self.berry.get("plugins")
        for plugin in plugins if isinstance(plugins, list) else []:
            named += strings(plugin) or strings(table(plugin).get("path"))
        for relative in named:
            if not relative.startswith("@yarnpkg/"):
                gather.need(root, relative, where, gather.line(where, relative))
        cache = strings(self.berry.get("cacheFolder")) or ["./.yarn/cache"]
        if not cache[0].startswith(("/", "~", "$")):
            gather.add_dir(join(root, cache[0]))
        if self.berry.get("enableConstraintsChecks") is True:
            gather.add_all(root, ("yarn.config.cjs", "constraints.pro"))
        for key in ("httpsCaFilePath", "httpsCertFilePath", "httpsKeyFilePath", "caFilePath"):
            for relative in strings(self.berry.get(key)):
                if not relative.startswith(("/", "~", "$")):
                    gather.need(root, relative, where, gather.line(where, key))

    def _package(self, directory: str, scripted: bool) -> None:
        gather = self.gather
        path = at(directory, "package.json")
        if not gather.add(path):
            if not gather.add_all(directory, ("package.yaml", "package.json5")):
                gather.doubt("no package.json in a package the install links to", directory)
            else:
                gather.doubt("only package.json is read, not its YAML or JSON5 form", directory)
            self.packages[directory] = {}
            return
        manifest = gather.json(path) or {}
        self.packages[directory] = manifest
        if self.family == "pnpm" and directory != self.root:
            gather.add(join(directory, ".npmrc"))
            if (
                self.settings.get("shared-workspace-lockfile") == "false"
                or self.pnpm.get("sharedWorkspaceLockfile") is False
            ):
                gather.add(join(directory, "pnpm-lock.yaml"))
        for section in SECTIONS:
            for spec in table(manifest, section).values():
                if isinstance(spec, str):
                    self._dependency(directory, path, spec)
        if directory == self.root:
            self._overrides(directory, path, manifest.get("overrides"))
            self._overrides(directory, path, manifest.get("resolutions"))
            self._overrides(directory, path, table(manifest, "pnpm").get("overrides"))
            if self.family == "pnpm":
                _patched(gather, directory, "package.json", table(manifest, "pnpm"))
            if self.family == "bun":
                _patched(gather, directory, "package.json", manifest)
        if self.family == "pnpm":
            self._injected(directory, manifest)
        if directory != self.root:
            self._bins(directory, manifest)
        if scripted:
            self._lifecycle(directory, path, manifest)

    def _bins(self, directory: str, manifest: Mapping[str, object]) -> None:
        # Every manager but berry's plug'n'play links a command of a workspace package only if its file is there.
        bins = manifest.get("bin")
        for relative in [*strings(bins), *(item for value in table(bins).values() for item in strings(value))]:
            self.gather.add(join(directory, relative))
        for relative in strings(table(manifest, "directories").get("bin")):
            self.gather.add_dir(join(directory, relative))

    def _injected(self, directory: str, manifest: Mapping[str, object]) -> None:
        wanted = table(manifest, "dependenciesMeta")
        if not wanted:
            return
        if not self.by_name:
            self.by_name = {
                str(table(self.gather.json(f"{path}/package.json")).get("name")): path for path in self.gather.members
            }
        for name, meta in wanted.items():
            if table(meta).get("injected") is True and self.by_name.get(name, directory) != directory:
                self.gather.add_dir(self.by_name[name])

    def _lifecycle(self, directory: str, path: str, manifest: Mapping[str, object]) -> None:
        gather = self.gather
        scripts = table(manifest, "scripts")
        followed = Scripts(gather, directory, path, scripts, manifest)
        production = flag(gather.words, "--production", "--prod")
        for stage in (ROOT_STAGES if directory == self.root else MEMBER_STAGES)[self.family]:
            if not (self.family == "yarn" and production and stage.startswith("pre") and stage != "preinstall"):
                followed.run(stage)
        if gather.has(join(directory, "binding.gyp")) and not {"install", "preinstall"} & scripts.keys():
            gather.reads("the install compiles the addon that this file describes", at(directory, "binding.gyp"), 1)
        named = {name for section in SECTIONS for name in table(manifest, section)}
        # @prisma/client generates itself from the schema when it is installed, if the schema is there by then.
        if "@prisma/client" in named and not prisma(gather, directory, manifest) and directory != self.root:
            prisma(gather, self.root, manifest)
        if "puppeteer" in named:
            gather.add_all(directory, _PUPPETEER)

    def _overrides(self, directory: str, path: str, overrides: object) -> None:
        stack: list[object] = list(table(overrides).values())
        while stack:
            spec = stack.pop()
            if isinstance(spec, dict):
                stack.extend(table(spec).values())
            elif isinstance(spec, str):
                self._dependency(directory, path, spec)

    def _dependency(self, directory: str, path: str, spec: str) -> None:
        """Take in what a dependency on a local path needs."""
        protocol, _, rest = spec.partition(":")
        path_like = spec.startswith(("./", "../")) or (
            spec.endswith((".tgz", ".tar.gz")) and "://" not in spec and self.gather.has(join(directory, spec))
        )
        if protocol not in ("patch", "exec", "file", "link", "portal") and not path_like:
            return
        line = self.gather.line(path, spec)
        if protocol == "patch" and self.family == "berry":
            self._patches(directory, path, line, rest)
        elif protocol == "exec":
            self.gather.need(directory, rest, path, line)
            self.gather.doubt("the `exec:` protocol runs code to make a package", path, line)
        elif protocol in ("file", "link", "portal"):
            self._local(directory, path, line, protocol, rest)
        elif path_like:
            self._local(directory, path, line, "file", spec)

    def _local(self, directory: str, path: str, line: int, protocol: str, relative: str) -> None:
        gather = self.gather
        relative = relative.removeprefix("//") if relative.startswith("//.") else relative
        target = join(directory, relative.partition("::")[0])
        if gather.add(target):
            return
        if target in gather.members or target in self.packages:
            return
        if target is None or not gather.has_dir(target) or target == gather.context:
            if not (protocol == "link" and self.family in ("yarn", "berry")):
                gather.need(directory, relative, path, line)
            return
        packed = self.settings.get("install-links") == "true" or flag(gather.words, "--install-links")
        if protocol == "file" and (self.family != "npm" or packed):
            gather.add_dir(target)
        elif protocol == "portal" or (protocol == "file" and self.family == "npm"):
            self.todo.append((target, True))
        elif self.family == "pnpm":
            gather.add(f"{target}/package.json")

    def _patches(self, directory: str, path: str, line: int, rest: str) -> None:
        locator, mark, files = rest.partition("#")
        if not mark:
            return
        if "patch:" in unquote(locator):
            self._patches(directory, path, line, unquote(locator).partition("patch:")[2])
        for patch in files.partition("::")[0].split("&"):
            patch = unquote(patch.removeprefix("optional!").removeprefix("./") if "~" not in patch[:12] else patch)
            patch = patch.removeprefix("optional!")
            if patch.startswith(("~builtin", "builtin")):
                continue
            if patch.startswith("~/"):
                self.gather.need(self.root, patch[2:], path, line)
            else:
                self.gather.need(directory, patch, path, line)
