"""How long ``coach diagnose --json`` takes from the first to the last breath of its process.

Beside it stands a bare ``import networkx``, the largest single cost that the diagnosis cannot avoid.

    python benchmarks/startup.py [--runs N] [FOLDER]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def best(words: Sequence[str], runs: int) -> float:
    """The shortest of ``runs`` wall times of a process, in seconds; one more run before them warms the caches."""
    return min(_once(words) for _ in range(runs + 1))


def _once(words: Sequence[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    took = time.perf_counter() - started
    if done.returncode not in (0, 1, 3):
        raise SystemExit(f"{' '.join(words)} failed: {done.stderr.decode(errors='replace')}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="examples/go-service", help="repository to diagnose")
    parser.add_argument("--runs", type=int, default=10, help="how often each is timed (default: 10)")
    args = parser.parse_args()

    networkx = best([sys.executable, "-c", "import networkx"], args.runs)
    coach = best([sys.executable, "-m", "coach", "diagnose", "--json", args.folder], args.runs)
    print(f"import networkx          {networkx * 1000:7.0f} ms")
    print(f"coach diagnose --json    {coach * 1000:7.0f} ms  {args.folder}")
    print(f"ratio                    {coach / networkx:7.2f}")


if __name__ == "__main__":
    main()
