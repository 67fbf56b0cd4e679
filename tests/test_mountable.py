"""RUNs that can have their cache mount get it although another cannot, once, and what stays is told."""

from __future__ import annotations

from pathlib import Path

from coach.model import Safety
from coach.project import open_project
from tests.repository import write

TWO_RUNS = {
    "Dockerfile": """\
FROM node:22-slim AS pages
WORKDIR /pages
COPY package.json package-lock.json ./
RUN npm ci

FROM python:3.12-slim
ARG WHEELS
WORKDIR /srv
COPY requirements.txt ./
RUN pip install --cache-dir "$WHEELS/pip" -r requirements.txt
COPY --from=pages /pages/node_modules ./node_modules
CMD ["python"]
""",
    ".dockerignore": ".git\nnode_modules\n",
    "package.json": '{"name": "pages", "version": "1.0.0", "dependencies": {"vite": "^6.0.0"}}\n',
    "package-lock.json": '{"name": "pages", "lockfileVersion": 3, "packages": {}}\n',
    "requirements.txt": "flask\n",
}


def test_what_can_be_mended_is_mended_once(tmp_path: Path) -> None:
    root = write(tmp_path, TWO_RUNS)

    done = open_project(root).fix(safety=Safety.SAFE, only=("F3",))

    assert [applied.finding.id for applied in done.applied] == ["F3"]
    assert done.notes == ()
    left = next(finding for finding in done.shown if finding.id == "F3")
    assert left.remedy.reasons == (
        "line 10: the value of --cache-dir is not known, so where a mount belongs cannot be told",
    )
    write(root, {path: after for path, (_, after) in done.files.items()})
    again = open_project(root).fix(safety=Safety.SAFE, only=("F3",))
    assert again.files == {}
    assert again.notes == ()
