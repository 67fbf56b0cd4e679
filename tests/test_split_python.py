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


def runtime(text: str, files: dict[str, str] | None = None) -> list[str]:
    """Lines of the runtime stage after the split."""
    held = {**FILES, **(files or {})}
    tree = MemoryTree({"Dockerfile": text.encode(), **{path: body.encode() for path, body in held.items()}})
    image = Shipped(Site(tree, parse(text.encode(), "Dockerfile"), ""))
    lines = edits.apply(text.encode(), plan(image).edits).decode().splitlines()
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
        ('RUN uv sync\nCMD ["uv", "run", "flask"]', {}, "starts uv"),
        ('RUN uv pip install --system -r requirements.txt\nCMD ["flask", "run"]', {}, "system"),
        ('RUN poetry install\nCMD ["flask", "run"]', {}, "hash"),
        ('RUN python -m venv /env\nRUN pip install -r requirements.txt\nCMD ["flask", "run"]', {}, "cannot be told"),
        ('RUN pip install --target /libs -r requirements.txt\nCMD ["flask", "run"]', {}, "own"),
        ('RUN curl -O x && pip install -r requirements.txt\nCMD ["flask", "run"]', {}, "downloads"),
    ],
)
def test_no_patch_where_the_environment_would_not_run(lines: str, files: dict[str, str], says: str) -> None:
    with pytest.raises(CannotSplitError, match=says):
        runtime(GCC + "COPY . .\n" + lines + "\n", files)
