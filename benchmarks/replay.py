"""What a replay costs: seconds per 200 commits of a repository, and how that grows with commits and files.

    python benchmarks/replay.py /path/to/a/clone [--dockerfile docker/Dockerfile] [--commits 200]

Without a path, only the growth on made histories is measured.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path

from coach.history import GitHistory
from coach.project import Narrow, open_project
from coach.replay import replay
from coach.replay.cache import Policy
from coach.replay.commits import Commit, MemoryHistory, Node, changes
from coach.replay.simulate import Arguments, AsItWas, Fixed, simulate

DOCKERFILE = b"FROM base\nWORKDIR /app\nCOPY package.json ./\nRUN install\nCOPY . .\nRUN build\n"
IGNORE = b"**/*.md\ndocs\n.git\n!docs/keep\n"


def made(commits: int, files: int) -> MemoryHistory:
    """A history that edits a few files of a tree of ``files`` at every commit."""
    dice = random.Random(1)
    tree = {f"src/{n % 97}/{n % 13}/file{n}.py": Node("100644", f"0{n}") for n in range(files)}
    tree |= {
        "package.json": Node("100644", "p"),
        "Dockerfile": Node("100644", "d"),
        ".dockerignore": Node("100644", "i"),
    }
    paths = sorted(tree)
    found = [Commit("c0", dict(tree))]
    for number in range(1, commits + 1):
        after = {**tree, **{dice.choice(paths[3:]): Node("100644", f"{number}-{n}") for n in range(5)}}
        found.append(Commit(f"c{number}", changes(tree, after)))
        tree = after
    return MemoryHistory(found, {"d": DOCKERFILE, "i": IGNORE, "p": b"{}"})


def seconds(work: Callable[[], object]) -> float:
    """Best of three."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def growth() -> None:
    """Made histories: twice the commits, twice the files."""
    scenario = Fixed(Arguments(), DOCKERFILE, "Dockerfile", (".dockerignore", IGNORE))
    print("made histories, one Dockerfile held constant / every commit's own")
    for commits, files in ((200, 1_000), (200, 10_000), (200, 20_000), (400, 10_000), (800, 10_000)):
        history = made(commits, files)
        held = seconds(lambda: simulate(history, scenario, [Policy.LOCAL]))  # noqa: B023 - called at once
        own = seconds(lambda: simulate(history, AsItWas(Arguments(), "Dockerfile"), [Policy.LOCAL]))  # noqa: B023
        print(f"  {commits:>5} commits of {files:>6} files: {held:6.2f} s / {own:6.2f} s")


def repository(root: Path, dockerfile: str | None, commits: int) -> None:
    """One repository: reading git, then all three scenarios under all policies."""
    site = open_project(root, narrow=Narrow(dockerfile, None, None)).found().sites[0]
    read = seconds(lambda: GitHistory(root, commits))
    history = GitHistory(root, commits)
    files = sum(1 for node in history.commits[0].changes.values() if node is not None)
    whole = seconds(lambda: replay(history, site))
    print(f"{root.name} {site.path}: {len(history.commits) - 1} commits, {files} files")
    print(f"  git {read:.2f} s, today's and every commit's own Dockerfile under {len(Policy)} policies {whole:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", type=Path)
    parser.add_argument("--dockerfile")
    parser.add_argument("--commits", type=int, default=200)
    args = parser.parse_args()
    if args.path is not None:
        repository(args.path, args.dockerfile, args.commits)
    growth()


if __name__ == "__main__":
    main()
