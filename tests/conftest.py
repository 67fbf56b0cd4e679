"""What is said at the end of every run: whether a real engine was asked."""

from __future__ import annotations

import pytest

from tests.engine.engine import NOT_RUN


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line that nobody overlooks when the engine tests did not run."""
    reasons = [
        str(report.longrepr[2]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", ())
        if isinstance(report.longrepr, tuple) and NOT_RUN in report.longrepr[2]
    ]
    if reasons:
        terminalreporter.write_line(f"{len(reasons)} {reasons[0]}", yellow=True, bold=True)
