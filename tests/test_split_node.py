"""Node: two installs, what a build leaves, and when scripts stand in the way."""

from __future__ import annotations

import json

import pytest

from coach import edits
from coach.dockerfile import parse
from coach.manifests.node_facts import node_facts
from coach.shipped import Shipped
from coach.site import Site
from coach.split import CannotSplitError, plan
from coach.split.outputs import Builds, extras
from coach.split.workspace import UntoldError
from coach.tree import MemoryTree

EARLY = (
    "FROM node:22-slim\nWORKDIR /app\nCOPY package.json {lock} ./\nRUN {install}\nCOPY . .\nRUN {build}\n"
    'CMD ["node", "dist/a.js"]\n'
)
TSCONFIG = {"tsconfig.json": '{"compilerOptions": {"outDir": "dist"}}', "src/a.ts": ""}
BARE = [
    "FROM gcr.io/distroless/nodejs22-debian13",
    "WORKDIR /app",
    "ENV PATH=/nodejs/bin:$PATH",
    "ENTRYPOINT []",
]
NPM_LOCK = {"lockfileVersion": 3, "packages": {"": {}, "node_modules/a": {}, "node_modules/b": {"dev": True}}}


def package(**more: object) -> str:
    own = {"scripts": {"build": "tsc"}, "dependencies": {"a": "1"}, "devDependencies": {"b": "1", "typescript": "5"}}
    return json.dumps({**own, **more})


def lines(text: str, files: dict[str, str]) -> list[str]:
    tree = MemoryTree({"Dockerfile": text.encode(), **{path: body.encode() for path, body in files.items()}})
    image = Shipped(Site(tree, parse(text.encode(), "Dockerfile"), ""))
    return edits.apply(text.encode(), plan(image).edits).decode().splitlines()


def npm(files: dict[str, str] | None = None, lock: object = NPM_LOCK, **more: object) -> list[str]:
    """The split of a project that npm installs, its package.json changed by ``more``."""
    text = EARLY.format(lock="package-lock.json", install="npm ci", build="npm run build")
    return lines(
        text, {"package.json": package(**more), "package-lock.json": json.dumps(lock), **TSCONFIG, **(files or {})}
    )


def test_the_install_stands_twice_and_only_outputs_are_copied() -> None:
    assert npm() == [
        "FROM node:22-slim AS deps",
        "WORKDIR /app",
        "COPY package.json package-lock.json ./",
        "",
        "FROM deps AS prod-deps",
        "RUN npm ci --omit=dev",
        "",
        "FROM deps AS build",
        "RUN npm ci",
        "COPY . .",
        "RUN npm run build",
        "",
        *BARE,
        "COPY --from=prod-deps /app /app",
        "COPY --from=build /app/dist /app/dist",
        'CMD ["node", "dist/a.js"]',
    ]


SCRIPTED = {"lockfileVersion": 3, "packages": {"node_modules/a": {"hasInstallScript": True}}}


@pytest.mark.parametrize(
    ("scripts", "lock", "expected"),
    [
        ({"prepare": "husky || true"}, SCRIPTED, "RUN npm ci --omit=dev"),
        ({"preinstall": "npx only-allow npm"}, SCRIPTED, "RUN npm ci --omit=dev"),
        ({"postinstall": "a fix"}, SCRIPTED, "RUN npm ci --omit=dev"),
        ({"prepare": "husky"}, NPM_LOCK, "RUN npm ci --omit=dev --ignore-scripts"),
        ({"prepare": "npm run hooks", "hooks": "husky"}, NPM_LOCK, "RUN npm ci --omit=dev --ignore-scripts"),
        ({"postinstall": "node fix.js"}, NPM_LOCK, "RUN npm prune --omit=dev"),
        ({"prepare": "husky"}, SCRIPTED, "RUN npm prune --omit=dev"),
        ({"prepare": "is-ci || husky"}, {"lockfileVersion": 1}, "RUN npm prune --omit=dev"),
    ],
)
def test_scripts_that_need_a_development_dependency(scripts: dict[str, str], lock: object, expected: str) -> None:
    files = {"fix.js": "require('b/x')"} if "fix.js" in str(scripts) else {}
    text = EARLY.format(
        lock="package-lock.json fix.js" if files else "package-lock.json", install="npm ci", build="tsc"
    )
    own = {"build": "tsc", **scripts}

    made = lines(
        text, {"package.json": package(scripts=own), "package-lock.json": json.dumps(lock), **TSCONFIG, **files}
    )

    assert expected in made


def test_prisma_keeps_its_client_and_gets_openssl() -> None:
    text = EARLY.replace("22-slim", "22").format(lock="package-lock.json", install="npm ci", build="npm run build")
    files = {"package.json": package(dependencies={"@prisma/client": "6"}), "package-lock.json": json.dumps(NPM_LOCK)}

    made = lines(text, {**files, **TSCONFIG, "prisma/schema.prisma": ""})

    assert "RUN npm prune --omit=dev" in made
    assert " && apt-get install -y --no-install-recommends openssl \\" in made
    assert "COPY --from=build /app/prisma /app/prisma" in made


BERRY = {"packageManager": "yarn@4.9.1"}
YARNRC = {".yarnrc.yml": "nodeLinker: node-modules\n", "yarn.lock": "\n__metadata:\n"}


@pytest.mark.parametrize(
    ("install", "lock", "more", "files", "expected"),
    [
        ("pnpm i --frozen-lockfile", "pnpm-lock.yaml", {}, {}, "RUN pnpm i --prod --frozen-lockfile"),
        ("yarn", "yarn.lock", {}, {}, "RUN yarn --production"),
        ("yarn --frozen-lockfile", "yarn.lock", {}, {}, "RUN yarn --production --frozen-lockfile"),
        ("cd . && npm install", "package-lock.json", {}, {}, "RUN cd . && npm install --omit=dev"),
        ("yarn --immutable", "yarn.lock .yarnrc.yml", BERRY, YARNRC, "RUN yarn workspaces focus --production --all"),
    ],
)
def test_each_manager_in_its_own_words(
    install: str, lock: str, more: dict[str, object], files: dict[str, str], expected: str
) -> None:
    text = EARLY.format(lock=lock, install=install, build="node_modules/.bin/tsc")

    made = lines(text, {lock.split()[0]: "", "package.json": package(**more), **TSCONFIG, **files})

    assert made[made.index("FROM deps AS prod-deps") + 1] == expected
    assert f"RUN {install}" in made


@pytest.mark.parametrize(
    ("install", "lock", "more", "files", "says"),
    [
        ("yarn --immutable", "yarn.lock", BERRY, {"yarn.lock": "\n__metadata:\n"}, "Plug'n'Play"),
        (
            "yarn --immutable",
            "yarn.lock .yarnrc.yml",
            {"packageManager": "yarn@3.1.0"},
            YARNRC,
            "no `workspaces focus`",
        ),
        ("yarn --production=false", "yarn.lock", {}, {}, "says itself"),
        ("yarn && ./more.sh", "yarn.lock", {}, {}, "not certain"),
        ("pnpm i", "pnpm-lock.yaml", {"scripts": {"prepare": "husky"}}, {}, "husky"),
    ],
)
def test_no_patch_where_a_production_install_is_not_certain(
    install: str, lock: str, more: dict[str, object], files: dict[str, str], says: str
) -> None:
    text = EARLY.format(lock=lock, install=install, build="tsc")

    with pytest.raises(CannotSplitError, match=says):
        lines(text, {lock.split()[0]: "", "package.json": package(**more), **TSCONFIG, **files})


@pytest.mark.parametrize(
    ("change", "deps", "built"),
    [
        (("COPY ", "COPY --chown=node:node "), "", ""),  # npm ran as root: what it made is root's
        (("COPY package", "USER node\nCOPY package"), "--chown=node ", "--chown=node "),
        (("RUN npm run", "RUN chown -R 1000:1000 /app\nRUN npm run"), "--chown=1000:1000 ", "--chown=1000:1000 "),
        (("RUN npm run", "USER node\nRUN npm run"), "", "--chown=node "),
    ],
)
def test_owners_are_kept(change: tuple[str, str], deps: str, built: str) -> None:
    text = EARLY.format(lock="package-lock.json", install="npm ci", build="npm run build").replace(*change)

    made = lines(text, {"package.json": package(), "package-lock.json": json.dumps(NPM_LOCK), **TSCONFIG})

    assert f"COPY --from=prod-deps {deps}/app /app" in made
    assert f"COPY --from=build {built}/app/dist /app/dist" in made


def test_a_command_that_starts_pnpm_starts_the_program_itself() -> None:
    text = EARLY.format(lock="pnpm-lock.yaml", install="pnpm i", build="pnpm build").replace(
        'CMD ["node", "dist/a.js"]', "CMD pnpm start"
    )
    scripts = {"build": "tsc", "start": "node --enable-source-maps dist/a.js"}

    made = lines(text, {"package.json": package(scripts=scripts), "pnpm-lock.yaml": "", **TSCONFIG})

    assert made[-1] == 'CMD ["node", "--enable-source-maps", "dist/a.js"]'


def test_a_manifest_that_was_only_mounted_is_copied() -> None:
    text = (
        "FROM node:22-slim\nWORKDIR /app\n"
        "RUN --mount=type=bind,source=package.json,target=package.json "
        "--mount=type=bind,source=package-lock.json,target=package-lock.json npm ci\n"
        'COPY . .\nRUN npm run build\nCMD ["node", "dist/a.js"]\n'
    )

    made = lines(text, {"package.json": package(), "package-lock.json": json.dumps(NPM_LOCK), **TSCONFIG})

    assert "COPY --from=build /app/package.json /app/package.json" in made


def test_what_cannot_be_told_is_copied_whole_without_the_packages_of_the_build() -> None:
    workspace = {"workspaces": ["w/*"], "scripts": {"build": "make-it"}}

    made = npm({"w/one/package.json": "{}"}, **workspace)

    assert made[made.index("RUN npm run build") + 1 :][:8] == [
        "RUN rm -rf node_modules w/one/node_modules",
        "",
        *BARE,
        "COPY --from=prod-deps /app /app",
        "COPY --from=build /app /app",
    ]


def test_an_init_in_front_of_the_program_is_installed_again() -> None:
    text = (
        "FROM node:22-slim\nRUN apt-get update && apt-get install -y tini g++\nWORKDIR /app\n"
        'COPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\nRUN npm run build\nENTRYPOINT ["tini", "--"]\n'
        'CMD ["node", "dist/a.js"]\n'
    )

    made = lines(text, {"package.json": package(), "package-lock.json": json.dumps(NPM_LOCK), **TSCONFIG})

    assert " && apt-get install -y --no-install-recommends tini \\" in made


# ---- an image of node alone


@pytest.mark.parametrize(
    ("change", "files", "more"),
    [
        (("22-slim", "22.3-slim"), {}, {}),
        (("22-slim", "22-slim@sha256:" + "0" * 64), {}, {}),
        (("22-slim", "22-alpine"), {}, {}),
        (('["node", "dist/a.js"]', "node dist/$MAIN"), {}, {}),
        (('["node", "dist/a.js"]', '["npm", "start"]'), {}, {"scripts": {"build": "tsc", "start": "node dist/a.js"}}),
        (("CMD", "USER node\nCMD"), {}, {}),
        (("COPY . .", "COPY --chown=node:node . ."), {}, {}),
        (("CMD", "HEALTHCHECK CMD node dist/health.js\nCMD"), {}, {}),
        (("WORKDIR", "RUN apt-get update && apt-get install -y ffmpeg\nWORKDIR"), {}, {}),
        (("CMD", "CMD"), {"src/b.ts": 'import { exec } from "node:child_process";'}, {}),
        (("CMD", "CMD"), {}, {"dependencies": {"a": "1", "execa": "9"}}),
        (("CMD", "CMD"), {"compose.yaml": "services:\n  a:\n    build: .\n    command: npm run dev\n"}, {}),
    ],
)
def test_a_base_with_a_shell_stays_where_one_may_be_needed(
    change: tuple[str, str], files: dict[str, str], more: dict[str, object]
) -> None:
    text = EARLY.format(lock="package-lock.json", install="npm ci", build="npm run build").replace(*change)

    made = lines(
        text, {"package.json": package(**more), "package-lock.json": json.dumps(NPM_LOCK), **TSCONFIG, **files}
    )

    assert [line for line in made if line.startswith("FROM")][-1] == text.splitlines()[0]
    assert "ENTRYPOINT []" not in made


def test_folders_inside_one_that_is_copied_are_not_copied_again() -> None:
    made = npm(scripts={"build": "tsc && esbuild src/web.ts --bundle --outdir=dist/public"})

    assert [line for line in made if line.startswith("COPY --from=build")] == [
        "COPY --from=build /app/dist /app/dist",
    ]


# ---- where builds leave what they make

WORKSPACE = {
    "package.json": package(
        name="root", workspaces=["p/*"], scripts={"build": "turbo run build", "all": "npm run build -ws"}
    ),
    "p/a/package.json": json.dumps({"name": "a", "scripts": {"build": "vite build", "prebuild": "rimraf dist"}}),
    "p/b/package.json": json.dumps({"name": "@x/b", "scripts": {"build": "tsc -p . && tsc-alias"}}),
    "p/b/tsconfig.json": '{/* x */ "extends": "../../base.json",}',
    "p/c/package.json": json.dumps({"name": "c"}),
    "base.json": '{"compilerOptions": {"outDir": "lib"}}',
}


def builds(files: dict[str, str], *packages: str) -> Builds:
    tree = MemoryTree({"Dockerfile": b"FROM scratch\n", **{path: body.encode() for path, body in files.items()}})
    return Builds(Site(tree, parse(b"FROM scratch\n"), ""), {path: node_facts(tree, path) for path in ("", *packages)})


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("npm run build", {"p/a": {"dist"}, "p/b": {"../../lib"}}),
        ("pnpm -r build", {"p/a": {"dist"}}),
        ("npm run build -w a", {"p/a": {"dist"}}),
        ("pnpm --filter a run build", {"p/a": {"dist"}}),
        ("yarn workspace a build", {"p/a": {"dist"}}),
        ("npx esbuild a.ts --outfile=out/a.js", {"": {"out"}}),
        ("npx swc src -d made", {"": {"made"}}),
        ("node_modules/.bin/ncc build a.js", {"": {"dist"}}),
        ("tsc --noEmit", {}),
        ("next build", {"": {".next"}}),
    ],
)
def test_outputs_of_a_command(command: str, expected: dict[str, set[str]]) -> None:
    outside = {"p/b"} if "../../lib" in str(expected) else set()
    files = {**WORKSPACE, "base.json": "{}"} if not outside else WORKSPACE
    files = {**files, "p/b/tsconfig.json": '{"compilerOptions": {"noEmit": true}}'} if not outside else files
    found = builds(files, "p/a", "p/b", "p/c")

    if outside:  # relative to the file that says it, which is not the package itself
        with pytest.raises(UntoldError, match="outside"):
            found.command(command.split(), "")
    else:
        found.command(command.split(), "")
        assert found.found == expected


@pytest.mark.parametrize(
    "command",
    ["make", "node build.js", "tsc -b", "tsc", "pnpm --filter ./p/* build", "turbo build --filter=a", "npm run none",
     "vite", "rollup -c", "tsc --outDir /srv/out", "pnpm -r exec tsc"],
)  # fmt: skip
def test_what_is_not_known_is_said(command: str) -> None:
    with pytest.raises(UntoldError):
        builds({"package.json": package()}).command(command.split(), "")


def test_a_bundler_that_writes_elsewhere() -> None:
    moved = {"package.json": package(), "vite.config.ts": "export default { build: { outDir: 'web' } }"}
    unknown = {"package.json": package(), "vite.config.ts": "export default { build: { outDir: where() } }"}
    found = builds(moved)

    found.command(["vite", "build"], "")

    assert found.found == {"": {"web"}}
    with pytest.raises(UntoldError):
        builds(unknown).command(["vite", "build"], "")


def test_files_that_may_be_read_are_told_from_source_and_tooling() -> None:
    found = builds({"package.json": package(), "tsconfig.json": '{"compilerOptions": {"outDir": "dist"}}'})
    found.command(["tsc"], "")
    files = (
        "package.json", "README.md", "tsconfig.json", "src/a.ts", "src/b/c.tsx", "test/data.json", "migrations/1.sql",
        "views/a.ejs", "dist/old.js", "schema.graphql", ".env", "vitest.config.ts", "seeds/one.ts", "newrelic.js",
    )  # fmt: skip

    assert extras(found, files) == ["migrations", "newrelic.js", "schema.graphql", "views"]


def test_too_many_such_files_are_no_list() -> None:
    with pytest.raises(UntoldError, match="12 other"):
        extras(builds({"package.json": package()}), [f"{n}.json" for n in range(12)])
