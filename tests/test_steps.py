"""What a RUN does: actions, cache directories, what defeats them, and files that are followed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from coach.dockerfile import State
from coach.shell import parse, without
from coach.steps import Action, Look, PackageStep, hidden, settings, steps


def found(source: str, files: Mapping[str, str] | None = None, **env: str | None) -> tuple[PackageStep, ...]:
    state = State({"HOME": "/root", **env}, {}, "/app", "root", ("/bin/sh", "-c"))
    script = parse(source, state.env, "/app")
    return steps(script, state, look(files))


def look(files: Mapping[str, str] | None) -> Look:
    def get(path: str) -> tuple[str, bytes] | None:
        content = (files or {}).get(path)
        return (path.removeprefix("/app/"), content.encode()) if content is not None else None

    return get


def one(source: str, files: Mapping[str, str] | None = None, **env: str | None) -> PackageStep:
    (step,) = found(source, files, **env)
    return step


def place(source: str, files: Mapping[str, str] | None = None, **env: str | None) -> str | None:
    return one(source, files, **env).caches[0].path


@pytest.mark.parametrize(
    ("source", "manager", "action"),
    [
        ("npm ci", "npm", Action.INSTALL),
        ("npm i", "npm", Action.INSTALL),
        ("npm install --prefix web", "npm", Action.INSTALL),
        ("npm i -g typescript", "npm", Action.NAMED),
        ("npm i -g npm@latest pnpm", "npm", Action.TOOL),
        ("npm install ./x.tgz", "npm", Action.INSTALL),
        ("yarn", "yarn", Action.INSTALL),
        ("yarn --frozen-lockfile", "yarn", Action.INSTALL),
        ("yarn add left-pad", "yarn", Action.NAMED),
        ("pnpm fetch", "pnpm", Action.FETCH),
        ("corepack pnpm i", "pnpm", Action.INSTALL),
        ("npx -y pnpm@9 install", "pnpm", Action.INSTALL),
        ("corepack prepare pnpm@9 --activate", "corepack", Action.TOOL),
        ("bun install --frozen-lockfile", "bun", Action.INSTALL),
        ("pip3.12 install -r requirements.txt", "pip", Action.INSTALL),
        ("python -m pip install -rrequirements.txt", "pip", Action.INSTALL),
        ("python3 -u -m pip install .[dev]", "pip", Action.INSTALL),
        ("pip install -e .", "pip", Action.INSTALL),
        ("pip install flask", "pip", Action.NAMED),
        ("pip install -c constraints.txt flask", "pip", Action.NAMED),
        ("pip install -U pip 'poetry==1.8' setuptools", "pip", Action.TOOL),
        ("pip download -r requirements.txt", "pip", Action.FETCH),
        ("poetry install --no-root", "poetry", Action.INSTALL),
        ("poetry run pip install x", "pip", Action.NAMED),
        ("/root/.local/bin/uv sync --frozen", "uv", Action.INSTALL),
        ("uv pip install -r requirements.txt", "uv", Action.INSTALL),
        ("uv pip install flask", "uv", Action.NAMED),
        ("conda env create -f environment.yml", "conda", Action.INSTALL),
        ("micromamba install -y -n base -f env.yaml", "conda", Action.INSTALL),
        ("go mod download", "go", Action.FETCH),
        ("CGO_ENABLED=0 xx-go build -o /x ./cmd", "go", Action.BUILD),
        ("go install ./...", "go", Action.BUILD),
        ("go install golang.org/x/tools/cmd/goimports@latest", "go", Action.NAMED),
        ("cargo chef cook --release --recipe-path recipe.json", "cargo", Action.FETCH),
        ("xx-cargo build --release", "cargo", Action.BUILD),
        ("cargo install --locked ripgrep", "cargo", Action.NAMED),
        ("cargo install --path .", "cargo", Action.BUILD),
        ("cargo install cargo-chef", "cargo", Action.TOOL),
        ("./mvnw -B dependency:go-offline", "maven", Action.FETCH),
        ("mvn -B clean package -DskipTests", "maven", Action.BUILD),
        ("./gradlew --no-daemon bootJar -x test", "gradle", Action.BUILD),
        ("bundle install", "bundler", Action.INSTALL),
        ("composer install --no-dev", "composer", Action.INSTALL),
        ("dotnet restore Shop.sln", "dotnet", Action.FETCH),
        ("dotnet publish -c Release -o /out", "dotnet", Action.BUILD),
        ("mix deps.get --only prod", "mix", Action.FETCH),
        ("mix local.hex --force", "mix", Action.TOOL),
        ("swift package resolve", "swift", Action.FETCH),
        ("apt-get install -y curl", "apt", Action.OS),
        ("apk add --no-cache curl", "apk", Action.OS),
    ],
)
def test_an_action_is_told_from_the_words(source: str, manager: str, action: Action) -> None:
    step = one(source)

    assert (step.manager, step.action) == (manager, action)


@pytest.mark.parametrize(
    "source",
    [
        "npm run build",
        "npm --version",
        "npm cache clean --force",
        "yarn build",
        "yarn --version",
        "pip --version",
        "pip install --upgrade",
        "go version",
        "go env GOPATH",
        "cargo chef prepare --recipe-path recipe.json",
        "mvn --version",
        "gradle --stop",
        "bundle exec rake assets:precompile",
        "bundle config set path /x",
        "dotnet --info",
        "echo npm ci",
        "git commit -m 'npm ci'",
        "$TOOL install",
        "python setup.py build",
    ],
)
def test_what_installs_nothing_is_no_step(source: str) -> None:
    assert found(source) == ()


@pytest.mark.parametrize(
    ("source", "env", "path"),
    [
        ("npm ci", {}, "/root/.npm"),
        ("npm ci --cache /c", {}, "/c"),
        ("npm_config_cache=/c npm ci", {}, "/c"),
        ("export NPM_CONFIG_CACHE=/c && npm ci", {}, "/c"),
        ("npm config set cache /c && npm ci", {}, "/c"),
        ("pnpm i", {}, "/root/.local/share/pnpm/store"),
        ("pnpm i", {"PNPM_HOME": "/pnpm"}, "/pnpm/store"),
        ("pnpm i", {"XDG_DATA_HOME": "/data"}, "/data/pnpm/store"),
        ("yarn", {}, "/usr/local/share/.cache/yarn"),
        ("yarn", {"HOME": "/home/node"}, "/home/node/.cache/yarn"),
        ("bun i", {"BUN_INSTALL": "/bun"}, "/bun/install/cache"),
        ("pip install -r r.txt", {"XDG_CACHE_HOME": "/x"}, "/x/pip"),
        ("pip install -r r.txt --cache-dir=/c", {"PIP_CACHE_DIR": "/p"}, "/c"),
        ("uv sync", {"UV_CACHE_DIR": "/uv"}, "/uv"),
        ("go mod download", {"GOPATH": "/go"}, "/go/pkg/mod"),
        ("go mod download", {"GOPATH": "/go", "GOMODCACHE": "/m"}, "/m"),
        ("go env -w GOMODCACHE=/m && go mod download", {}, "/m"),
        ("cargo fetch", {"CARGO_HOME": "/usr/local/cargo"}, "/usr/local/cargo/registry"),
        ("mvn -Dmaven.repo.local=/m2 package", {}, "/m2"),
        ("gradle build", {"GRADLE_USER_HOME": "/g"}, "/g/caches"),
        ("composer install", {"COMPOSER_HOME": "/tmp"}, "/tmp/cache"),
        ("dotnet restore", {"NUGET_PACKAGES": "/n"}, "/n"),
        ("npm ci", {"npm_config_cache": None}, None),
        ("npm ci", {"HOME": None}, None),
        ("su app -c 'npm ci'", {}, None),
    ],
)
def test_a_cache_is_where_the_tool_looks(source: str, env: dict[str, str | None], path: str | None) -> None:
    assert place(source, None, **env) == path


def test_what_moved_a_cache_is_named() -> None:
    assert one("uv sync", UV_CACHE_DIR="/uv").caches[0].moved_by == "$UV_CACHE_DIR"
    assert one("npm ci").caches[0].moved_by == ""


def test_a_file_of_the_project_moves_a_cache() -> None:
    assert place("npm ci", {"/app/.npmrc": "cache=/c\n"}) == "/c"
    assert place("pnpm i", {"/app/pnpm-workspace.yaml": 'storeDir: "/s"\n'}) == "/s"


def test_poetry_leaves_its_virtual_environments_alone() -> None:
    assert one("poetry install").caches[0].mounts == (
        "/root/.cache/pypoetry/cache",
        "/root/.cache/pypoetry/artifacts",
    )


@pytest.mark.parametrize(
    ("source", "files", "env", "role"),
    [
        ("yarn install", {"/app/.yarnrc.yml": "nodeLinker: pnp\n"}, {}, "live"),
        ("yarn install", {"/app/.yarnrc.yml": "nodeLinker: node-modules\n"}, {}, "download"),
        ("yarn install", {"/app/.yarnrc.yml": "nodeLinker: node-modules\nenableGlobalCache: false\n"}, {}, "live"),
        ("pnpm add -g serve", {}, {}, "live"),
        ("uv sync", {}, {"UV_LINK_MODE": "symlink"}, "live"),
        ("uv sync", {}, {}, "download"),
        ("deno cache main.ts", {}, {}, "live"),
        ("mvn dependency:build-classpath compile", {}, {}, "live"),
        ("go build", {}, {}, "shared"),
    ],
)
def test_a_cache_that_programs_run_from_is_live(
    source: str, files: dict[str, str], env: dict[str, str], role: str
) -> None:
    assert one(source, files, **env).caches[0].role == role


@pytest.mark.parametrize(
    ("source", "env"),
    [
        ("pnpm install --offline", {}),
        ("pip install --no-index --find-links=/w -r r.txt", {}),
        ("pip install /wheels/*", {}),
        ("go build -mod=vendor .", {}),
        ("go build -mod vendor .", {}),
        ("go build .", {"GOFLAGS": "-mod=vendor"}),
        ("cargo build --frozen", {}),
        ("mvn -o package", {}),
        ("gradle --offline build", {}),
        ("dotnet publish --no-restore", {}),
        ("bundle install --local", {}),
    ],
)
def test_an_offline_step_says_so(source: str, env: dict[str, str]) -> None:
    assert one(source, None, **env).offline


def test_go_builds_from_vendor_when_it_is_there() -> None:
    files = {"/app/vendor/modules.txt": ""}

    assert one("go build .", files).vendored
    assert not one("go build -mod=mod .", files).vendored
    assert not one("go build .").vendored


def test_nothing_declared_is_nothing_to_download() -> None:
    assert one("go build .", {"/app/go.mod": "module x\n\ngo 1.22\n"}).nothing
    assert not one("go build .", {"/app/go.mod": "module x\n\nrequire a/b v1\n"}).nothing
    assert one("npm ci", {"/app/package.json": '{"dependencies": {}}'}).nothing
    assert not one("npm ci").nothing


@pytest.mark.parametrize(
    ("source", "env", "dev"),
    [
        ("npm ci", {}, True),
        ("npm ci --omit=dev", {}, False),
        ("npm ci", {"NODE_ENV": "production"}, False),
        ("npm ci --include=dev", {"NODE_ENV": "production"}, True),
        ("npm ci", {"NODE_ENV": None}, None),
        ("poetry install --only main", {}, False),
        ("uv sync --no-dev", {}, False),
        ("pipenv sync", {}, False),
        ("pipenv sync --dev", {}, True),
        ("pip install -r r.txt", {}, None),
    ],
)
def test_development_dependencies(source: str, env: dict[str, str | None], dev: bool | None) -> None:
    assert one(source, None, **env).dev is dev


@pytest.mark.parametrize(
    ("source", "rest"),
    [
        ("pip install --no-cache-dir -r r.txt", "pip install -r r.txt"),
        ("npm ci && npm cache clean --force", "npm ci"),
        ("npm ci && npm cache clean --force || true; x", "npm ci; x"),
        ("npm ci && rm -rf ~/.npm && x", "npm ci && x"),
        ("npm ci && rm -rf /tmp/a /root/.npm/_cacache /tmp/b", "npm ci && rm -rf /tmp/a /tmp/b"),
        ("uv sync --no-cache --frozen", "uv sync --frozen"),
        ("UV_NO_CACHE=1 uv sync", "uv sync"),
        ("set -e\npip install -r r.txt\nrm -rf /root/.cache/pip", "set -e\npip install -r r.txt"),
    ],
)
def test_what_defeats_a_cache_can_be_cut_out(source: str, rest: str) -> None:
    (step,) = [step for step in found(source) if step.action is Action.INSTALL]
    (fight,) = step.fights

    assert without(source, [(fight.start, fight.end)]) == rest
    assert fight.text in source[fight.start : fight.end]


def test_removing_a_directory_above_the_cache_is_wide() -> None:
    (fight,) = one("pip install -r r.txt && rm -rf /root/.cache").fights

    assert fight.wide


def test_a_variable_of_the_image_cannot_be_cut_out_of_the_script() -> None:
    (fight,) = one("pip install -r r.txt", PIP_NO_CACHE_DIR="1").fights

    assert (fight.start == fight.end, fight.env) == (True, "PIP_NO_CACHE_DIR")


@pytest.mark.parametrize(
    "source", ["pip install -r r.txt && rm -rf /tmp/x", "rm -rf /root/.npm && npm ci", "npm ci && rm -rf node_modules"]
)
def test_what_leaves_the_cache_alone_is_no_fight(source: str) -> None:
    assert one(source).fights == ()


def test_a_makefile_is_followed_to_its_line() -> None:
    files = {"/app/Makefile": "GO ?= go\nall: dep\n\t@$(GO) build ./...\ndep:\n\tcd web && npm ci\n"}

    build = found("make all", files)

    assert [(step.label, step.via, step.directory) for step in build] == [
        ("npm ci", "Makefile:5", "/app/web"),
        ("go build", "Makefile:3", "/app"),
    ]
    assert not any(step.command.exact for step in build)


def test_scripts_and_package_scripts_are_followed() -> None:
    files = {
        "/app/build.sh": "#!/bin/sh\nset -e\nnpm run prepare-all\n",
        "/app/package.json": '{"scripts": {\n"prepare-all": "yarn install"}}',
        "/app/notes.txt": "npm ci",
    }

    (step,) = found("./build.sh && ./notes.txt", files)

    assert (step.manager, step.via) == ("yarn", "package.json:2")
    assert [step.via for step in found("bash build.sh", files)] == ["package.json:2"]


def test_circles_of_files_end() -> None:
    files = {
        "/app/a.sh": "#!/bin/sh\n./b.sh\nnpm ci\n",
        "/app/b.sh": "#!/bin/sh\n./a.sh\n",
        "/app/Makefile": "x:\n\tmake x\n\tnpm ci\n",
    }

    assert [step.manager for step in found("./a.sh; make x", files)] == ["npm", "npm"]


def test_what_cannot_be_followed_is_said() -> None:
    state = State({"HOME": "/root"}, {}, "/app", "root", ("/bin/sh", "-c"))

    says = [item.reason for item in hidden(parse("make app", state.env, "/app"), state, look(None))]

    assert says == ["the Makefile is not one of the files that were copied in"]


def test_stored_settings_reach_later_scripts() -> None:
    stored = settings(
        parse("npm config set cache /c && pnpm config set store-dir=/s; if x; then go env -w GOPATH=/g; fi")
    )

    assert stored == {"npm_config_cache": "/c", "npm_config_store_dir": "/s", "GOPATH": None}


def test_another_shell_than_a_posix_one_is_not_read() -> None:
    state = State({}, {}, "/app", "root", ("powershell", "-Command"))

    assert steps(parse("npm ci"), state, look(None)) == ()
