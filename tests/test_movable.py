"""Installs that can be moved are moved although others cannot, once, and what stays is told."""

from __future__ import annotations

from pathlib import Path

from coach.model import Safety
from coach.project import open_project
from tests.repository import write

TWO_STAGES = {
    "Dockerfile": """\
FROM node:22-slim AS pages
WORKDIR /pages
COPY . .
RUN npm ci
RUN npm run build

FROM python:3.12-slim
WORKDIR /srv
COPY . .
RUN ./setup.sh
COPY --from=pages /pages/dist ./static
CMD ["python", "-m", "ferry"]
""",
    ".dockerignore": ".git\nnode_modules\n",
    "package.json": '{"name": "pages", "version": "1.0.0", "devDependencies": {"vite": "^6.0.0"}}\n',
    "package-lock.json": '{"name": "pages", "lockfileVersion": 3, "packages": {}}\n',
    "main.js": "import './ferry.js'\n",
    "setup.sh": "#!/bin/sh\npip install -r requirements.txt\n",
    "requirements.txt": "flask\n",
    "ferry/__main__.py": "import flask\n",
}


def test_a_fix_that_mends_a_part_is_applied_once(tmp_path: Path) -> None:
    done = open_project(write(tmp_path, TWO_STAGES)).fix(safety=Safety.SAFE, only=("F2",))

    assert [applied.finding.id for applied in done.applied] == ["F2"]
    assert done.notes == ()
    after = done.files["Dockerfile"][1].decode().splitlines()
    assert after.index("RUN npm ci") < after.index("COPY . .") < after.index("RUN ./setup.sh")
    left = next(finding for finding in done.shown if finding.id == "F2")
    assert left.remedy.reasons == ("the install hides in setup.sh:2",)


def test_a_second_run_has_nothing_to_write(tmp_path: Path) -> None:
    root = write(tmp_path, TWO_STAGES)
    once = open_project(root).fix(safety=Safety.SAFE, only=("F2",))
    write(root, {path: after for path, (_, after) in once.files.items()})

    again = open_project(root).fix(safety=Safety.SAFE, only=("F2",))

    assert again.files == {}
    assert again.notes == ()
