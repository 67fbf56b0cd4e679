"""Small repositories on disk, and the command run over them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent

WRONG_ORDER = {
    "Dockerfile": """\
FROM node:22-slim
WORKDIR /app
COPY . .
RUN npm ci
USER 1000:1000
CMD ["node", "index.js"]
""",
    ".dockerignore": ".git\nnode_modules\n",
    "package.json": '{"name": "app", "version": "1.0.0", "dependencies": {"express": "^4.0.0"}}\n',
    "package-lock.json": '{"name": "app", "lockfileVersion": 3, "packages": {}}\n',
    "index.js": "require('express')\n",
}

# A chart that nothing answers, so that what happens depends on the person alone.
OTHER_SKILL = """\
---
name: coffee
description: Find out why there is no coffee.
---
# Coffee

```mermaid
flowchart TD
  water{"Is there water?"} -->|no| F1["FIX F1: fill the tank"]
  water -->|yes| beans{"Which beans are in?"}
  F1 -. fixed .-> beans
  beans -->|none| F2["FIX F2: buy beans"]
  beans -->|arabica| done
  beans -->|robusta| done
  F2 -. fixed .-> done(["Enjoy"])
```

## Core capabilities

### Fill the tank
Water goes to the line.

### Buy beans
The shop is open.
"""


def write(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """The files below ``root``."""
    for path, content in files.items():
        full = root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def git(root: Path, *words: str) -> str:
    """A git command that needs nobody's configuration."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "core.autocrlf=false")
    done = subprocess.run(["git", *who, *words], cwd=root, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout


def commit(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """A git repository that holds the files, clean."""
    write(root, files)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "start")
    return root


def environment(home: Path, **more: str) -> dict[str, str]:
    """An environment in which nothing of the machine shows: its own home, state and colours."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "SYSTEMROOT")}
    paths = {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "PYTHONPATH": str(ROOT)}
    return {**kept, **paths, "TERM": "dumb", "PYTHONDONTWRITEBYTECODE": "1", **more}


def coach(
    root: Path, *words: str, home: Path | None = None, typed: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """``coach`` run in ``root`` as a process of its own, with ``typed`` on its standard input."""
    return subprocess.run(
        [sys.executable, "-m", "coach", *words],
        cwd=root,
        env=environment(home or root.parent, **more),
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
