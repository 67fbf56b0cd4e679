"""How long ``coach diagnose --json`` takes from the first to the last breath of its process.

Beside it stands a bare ``import networkx``, the largest single cost that the diagnosis cannot avoid. CPU time is what
the two are compared by: on a machine that does other things, the clock on the wall tells of those too.

    python benchmarks/startup.py [--runs N] [FOLDER]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Took(NamedTuple):
    """Seconds of one process: on the clock, and of CPU time with that of its own children."""

    wall: float
    cpu: float


def once(words: Sequence[str]) -> Took:
    """One run of a process that may only say that it found something."""
    before, started = _cpu(), time.perf_counter()
    done = subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    took = Took(time.perf_counter() - started, _cpu() - before)
    if done.returncode not in (0, 1, 3):
        raise SystemExit(f"{' '.join(words)} failed: {done.stderr.decode(errors='replace')}")
    return took


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="examples/go-service", help="repository to diagnose")
    parser.add_argument("--runs", type=int, default=10, help="how often each is timed (default: 10)")
    args = parser.parse_args()

    coach = [sys.executable, "-m", "coach"]
    timed = {
        "import networkx": [sys.executable, "-c", "import networkx"],
        "coach diagnose --json": [*coach, "diagnose", "--json", args.folder],
        "coach explain F2": [*coach, "explain", "F2"],
        "coach --help": [*coach, "--help"],
    }
    runs: dict[str, list[Took]] = {name: [] for name in timed}
    for number in range(args.runs + 1):
        for name, words in timed.items():  # in turn, so that a busy spell of the machine meets them all
            took = once(words)
            if number:  # the first run only warms the caches
                runs[name].append(took)
    least = {name: Took(min(run.wall for run in found), min(run.cpu for run in found)) for name, found in runs.items()}
    ground = least["import networkx"].cpu
    print(f"{'least of ' + str(args.runs):24}  wall ms   CPU ms    ratio of CPU")
    for name, took in least.items():
        print(f"{name:24}  {took.wall * 1000:7.0f}  {took.cpu * 1000:7.0f}  {took.cpu / ground:10.2f}")


if __name__ == "__main__":
    main()
