"""Python: which environment is handed on, and when the sources can go to the runtime stage at once."""

from __future__ import annotations

import pytest

from coach import edits
from coach.dockerfile import parse
from coach.shipped import Shipped
from coach.site import Site
from coach.split import CannotSplitError, plan
from coach.tree import MemoryTree

GCC = "FROM python:3.12-slim\nRUN apt-get update && apt-get install -y gcc\nWORKDIR /srv\n"
FILES = {"requirements.txt": "flask\n", "app.py": "", "pyproject.toml": "[project]\nname = 'a'\n", "uv.lock": ""}

PACKAGED = "[project]\nname = 'a'\n[build-system]\nrequires = ['hatchling']\n"
SCRIPT = "[project]\nname = 'a'\n[project.scripts]\nserve = 'a:main'\n"
MADE = ["RUN python -m venv /opt/venv", "ENV VIRTUAL_ENV=/opt/venv", 'ENV PATH="/opt/venv/bin:$PATH"']


def split(text: str, files: dict[str, str] | None = None) -> list[str]:
    """All lines of the file after the split."""
    held = {**FILES, **(files or {})}
    tree = MemoryTree({"Dockerfile": text.encode(), **{path: body.encode() for path, body in held.items()}})
    image = Shipped(Site(tree, parse(text.encode(), "Dockerfile"), ""))
    return edits.apply(text.encode(), plan(image).edits).decode().splitlines()


def runtime(text: str, files: dict[str, str] | None = None) -> list[str]:
    """Lines of the runtime stage after the split."""
    lines = split(text, files)
    return lines[max(at for at, line in enumerate(lines) if line.startswith("FROM")) :]


def test_the_source_is_copied_to_the_runtime_stage_alone() -> None:
    text = (
        GCC + 'COPY requirements.txt .\nRUN pip install -r requirements.txt\nCOPY app.py .\nCMD ["python", "app.py"]\n'
    )

    assert runtime(text) == [
        "FROM python:3.12-slim",
        "WORKDIR /srv",
        'ENV PATH="/opt/venv/bin:$PATH"',
        "COPY requirements.txt .",  # no later COPY brings it, and it was in the image
        "COPY --from=build /opt/venv /opt/venv",
        "COPY app.py .",
        'CMD ["python", "app.py"]',
    ]


def test_what_a_later_run_makes_is_taken_from_the_build() -> None:
    text = GCC + (
        "COPY requirements.txt .\nRUN pip install -r requirements.txt\nCOPY . .\nRUN python -m compileall .\n"
        'CMD ["python", "app.py"]\n'
    )

    assert runtime(text)[-3:] == [
        "COPY --from=build /opt/venv /opt/venv",
        "COPY --from=build /srv /srv",
        'CMD ["python", "app.py"]',
    ]


def test_an_environment_of_the_users_own_is_handed_on() -> None:
    text = GCC + (
        "RUN python -m venv /env\nENV PATH=/env/bin:$PATH\nCOPY requirements.txt .\n"
        'RUN pip install -r requirements.txt\nCOPY . .\nCMD ["flask", "run"]\n'
    )

    assert runtime(text) == [
        "FROM python:3.12-slim",
        "ENV PATH=/env/bin:$PATH",
        "WORKDIR /srv",
        "COPY --from=build /env /env",
        "COPY . .",
        'CMD ["flask", "run"]',
    ]


def test_folders_and_users_that_were_made_are_made_again() -> None:
    text = GCC + (
        "RUN useradd -u 1001 shop && mkdir -p /data /srv/tmp && chown shop /data /srv/tmp\nCOPY . .\n"
        'RUN pip install -r requirements.txt\nUSER shop\nCMD ["python", "app.py"]\n'
    )

    assert "RUN useradd -u 1001 shop && mkdir -p /data /srv/tmp && chown shop /data /srv/tmp" in runtime(text)


def test_a_library_that_a_dependency_loads_is_installed() -> None:
    text = GCC + 'COPY . .\nRUN pip install -r requirements.txt\nCMD ["python", "app.py"]\n'

    made = runtime(text, {"requirements.txt": "mysqlclient==2.2.7\n"})

    assert " && apt-get install -y --no-install-recommends libmariadb3 \\" in made


def test_uv_hands_on_its_environment_without_the_project() -> None:
    text = GCC + (
        "COPY pyproject.toml uv.lock ./\nRUN uv sync --frozen --no-install-project\nCOPY . .\n"
        'CMD [".venv/bin/flask", "run"]\n'
    )

    assert runtime(text)[2:4] == ["COPY --from=build /srv/.venv /srv/.venv", "COPY . ."]


@pytest.mark.parametrize(
    ("lines", "files", "says"),
    [
        ('RUN uv sync\nCMD ["flask", "run"]', {".python-version": "3.13\n"}, "3.13"),
        (
            'RUN uv sync --no-install-project\nCMD ["uv", "run", "a"]',
            {"pyproject.toml": PACKAGED},
            "let the build do it",
        ),
        ('RUN uv sync\nCMD ["uv", "run", "--with", "b", "flask"]', {}, "through uv"),
        ('RUN uv sync\nCMD ["uv", "tool", "run", "flask"]', {}, "through uv"),
        ('RUN uv sync && uv pip install --system -r requirements.txt\nCMD ["flask"]', {}, "besides"),
        ('RUN poetry env use 3.12 && poetry install\nCMD ["flask", "run"]', {}, "env use"),
        ('RUN pip install rich\nRUN poetry install\nCMD ["flask", "run"]', {}, "together"),
        ('RUN cd /x && pip install poetry && poetry install\nCMD ["flask", "run"]', {}, "cut in two"),
        (
            'RUN poetry install --no-root\nCMD ["poetry", "run", "serve"]',
            {"pyproject.toml": SCRIPT},
            "the project's own",
        ),
        ('RUN poetry install\nCMD ["poetry", "shell"]', {}, "through poetry"),
        ('RUN poetry install\nHEALTHCHECK CMD poetry run check\nCMD ["flask"]', {}, "HEALTHCHECK"),
        ('RUN pipenv sync\nCMD ["pipenv", "run", "web"]', {"Pipfile": "[scripts]\nweb = 'flask run'\n"}, "own"),
        ('RUN pipenv sync\nCMD ["pipenv", "run", "flask"]', {"Pipfile": "", ".env": "A=1\n"}, ".env"),
        ('RUN pdm sync\nCMD ["pdm", "run", "serve"]', {"pyproject.toml": "[tool.pdm.scripts]\nserve = 'a'\n"}, "own"),
        ('RUN pdm config python.use_venv false && pdm sync\nCMD ["flask"]', {}, "elsewhere"),
        ('RUN pip install -r requirements.txt\nCMD ["/usr/local/bin/flask", "run"]', {}, "drop the path"),
        (
            'RUN pip install -r requirements.txt\nCMD ["./run.sh"]',
            {"run.sh": "#!/bin/sh\npoetry run flask\n"},
            "starts poetry",
        ),
        ('RUN pip install -r requirements.txt\nCMD ["./run.sh"]', {"run.sh": "make assets\n"}, "compiles"),
        ("RUN pip install -r requirements.txt\nCMD $APP", {}, "variable"),
        ("RUN pip install -r requirements.txt", {}, "neither CMD"),
        ('RUN pip install nltk && python -m nltk.downloader punkt\nCMD ["flask"]', {}, "home directory"),
        (
            "RUN pip install nltk\nRUN python -c \"import nltk; nltk.download('a')\"\nCMD flask run",
            {},
            "home directory",
        ),
        ('RUN python -m venv /env\nRUN pip install -r requirements.txt\nCMD ["flask", "run"]', {}, "cannot be told"),
        ('RUN pip install --target /libs -r requirements.txt\nCMD ["flask", "run"]', {}, "own"),
        ('RUN curl -O x && pip install -r requirements.txt\nCMD ["flask", "run"]', {}, "downloads"),
    ],
)
def test_no_patch_where_the_environment_would_not_run(lines: str, files: dict[str, str], says: str) -> None:
    with pytest.raises(CannotSplitError, match=says):
        runtime(GCC + "COPY . .\n" + lines + "\n", files)


@pytest.mark.parametrize(
    ("install", "command", "after"),
    [
        ("poetry install --only main", '["poetry", "run", "flask", "run"]', '["flask", "run"]'),
        ("poetry install --only main", "poetry run flask run", "flask run"),
        (
            "poetry install --only main",
            '["sh", "-c", "poetry run a && exec poetry run b"]',
            '["sh", "-c", "a && exec b"]',
        ),
        ("poetry install --only main", '["tini", "--", "poetry", "run", "flask"]', '["tini", "--", "flask"]'),
        ("pipenv sync", '["pipenv", "run", "python", "app.py"]', '["python", "app.py"]'),
        ("pdm sync --prod", "pdm run flask run", "flask run"),
        ("uv sync --no-dev", '["uv", "run", "flask"]', '["flask"]'),
        ("uv sync --no-dev", '["uv", "run", "--no-sync", "--", "flask"]', '["flask"]'),
        ("uv sync --no-dev", '["uv", "run", "-m", "flask"]', '["python", "-m", "flask"]'),
        ("uv sync --no-dev", "uv run app.py --port 1", "python app.py --port 1"),
    ],
)
def test_the_program_is_started_without_its_package_manager(install: str, command: str, after: str) -> None:
    files = {"Pipfile": "", "Pipfile.lock": "{}"}

    made = split(f"{GCC}COPY . .\nRUN {install}\nCMD {command}\n", files)

    assert made[-1] == f"CMD {after}"
    assert any(line.startswith("ENV PATH=") for line in made[made.index("FROM python:3.12-slim") :])


def test_an_entrypoint_that_is_the_package_manager_alone_goes() -> None:
    made = split(GCC + 'COPY . .\nRUN poetry install\nENTRYPOINT ["poetry", "run"]\nCMD ["flask", "run"]\n')

    assert made[-1] == 'CMD ["flask", "run"]'
    assert not [line for line in made if line.startswith("ENTRYPOINT")]


def test_poetry_fills_an_environment_that_can_be_handed_on() -> None:
    made = split(GCC + 'RUN pip install poetry\nCOPY . .\nRUN poetry install\nCMD ["flask", "run"]\n')

    at = made.index("RUN python -m venv /opt/venv")
    assert made[at - 1 : at + 4] == ["COPY . .", *MADE, "RUN poetry install"]


def test_a_run_that_installs_its_package_manager_first_is_cut() -> None:
    text = GCC + (
        "COPY . .\nRUN --mount=type=cache,target=/root/.cache \\\n    pip install pipenv && \\\n"
        '    pipenv install --system --deploy\nCMD ["flask", "run"]\n'
    )

    made = split(text, {"Pipfile": "", "Pipfile.lock": "{}"})

    at = made.index("RUN python -m venv /opt/venv")
    assert made[at - 1 : at + 5] == [
        "    pip install pipenv",
        *MADE,
        "RUN --mount=type=cache,target=/root/.cache \\",
        "    pipenv install --system --deploy",
    ]


def test_what_pipenv_installs_for_development_is_left_out() -> None:
    pipfile = '[packages]\nflask = "*"\n\n[dev-packages]\nruff = "*"\n'

    made = split(GCC + 'COPY . .\nRUN pipenv install --dev --deploy\nCMD ["flask"]\n', {"Pipfile": pipfile})

    assert "RUN pipenv install --deploy" in made


@pytest.mark.parametrize(
    ("env", "install"),
    [
        ("", "uv pip install --system -r requirements.txt"),
        ("ENV UV_SYSTEM_PYTHON=1\n", "uv pip install -r requirements.txt"),
    ],
)
def test_uv_fills_an_environment_instead_of_the_system(env: str, install: str) -> None:
    made = split(f'{GCC}{env}COPY . .\nRUN {install}\nCMD ["flask", "run"]\n')

    assert [line for line in made if "uv pip" in line] == ["RUN uv pip install --python /opt/venv -r requirements.txt"]


def test_pdm_keeps_its_environment_in_the_project() -> None:
    made = runtime(
        GCC + 'COPY pyproject.toml .\nRUN pdm sync --prod --no-self\nCOPY . .\nCMD ["pdm", "run", "flask"]\n'
    )

    assert made[2:] == ['ENV PATH="/srv/.venv/bin:$PATH"', *made[3:]]
    assert "COPY --from=build /srv/.venv /srv/.venv" in made
    assert made[-1] == 'CMD ["flask"]'


def test_a_script_that_starts_the_program_is_shipped_as_the_build_left_it() -> None:
    text = GCC + (
        "COPY requirements.txt .\nRUN pip install -r requirements.txt\nCOPY start.sh /start.sh\n"
        'RUN chmod +x /start.sh\nCOPY . .\nENTRYPOINT ["/start.sh"]\nCMD ["flask", "run"]\n'
    )

    made = runtime(text, {"start.sh": '#!/bin/sh\nset -e\npython -m app migrate\nexec "$@"\n'})

    assert "COPY --from=build /start.sh /start.sh" in made
    assert "COPY start.sh /start.sh" not in made


def test_a_tool_that_only_the_script_calls_is_installed() -> None:
    text = (
        "FROM python:3.12-slim\nRUN apt-get update && apt-get install -y gcc curl git\nWORKDIR /srv\nCOPY . .\n"
        'RUN pip install -r requirements.txt\nENTRYPOINT ["sh", "start.sh"]\nCMD ["flask", "run"]\n'
    )

    made = runtime(text, {"start.sh": '# git is not called\ncurl -f http://db/ready\nexec "$@"\n'})

    assert " && apt-get install -y --no-install-recommends curl \\" in made


def test_static_files_that_are_collected_elsewhere_are_taken_along() -> None:
    text = GCC + (
        "COPY . .\nRUN pip install -r requirements.txt\nRUN python manage.py collectstatic --noinput\n"
        'CMD ["gunicorn", "shop.wsgi"]\n'
    )

    made = runtime(text, {"manage.py": "", "shop/settings.py": 'STATIC_ROOT = "/var/static"\n'})

    assert "COPY --from=build /var/static /var/static" in made


def test_a_command_that_the_project_declares_is_started() -> None:
    made = runtime(GCC + 'COPY . .\nRUN pip install .\nCMD ["serve"]\n', {"pyproject.toml": SCRIPT})

    assert made[-3:] == ["COPY --from=build /opt/venv /opt/venv", "COPY --from=build /srv /srv", 'CMD ["serve"]']


def test_a_package_manager_that_is_downloaded_stays_behind() -> None:
    text = (
        "FROM python:3.12-slim\nENV PATH=/root/.local/bin:$PATH\n"
        "RUN apt-get update && apt-get install -y gcc curl && curl -sSL https://install.python-poetry.org | python3 -\n"
        'WORKDIR /srv\nCOPY . .\nRUN poetry install --no-root\nCMD ["poetry", "run", "flask"]\n'
    )

    made = runtime(text)

    assert "COPY --from=build /opt/venv /opt/venv" in made
    assert not [line for line in made if "curl" in line]
