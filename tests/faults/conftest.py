"""The table of faults: every kind that was tried, and what became of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

TRIED: dict[str, str] = {}


@pytest.fixture
def fault() -> Callable[[str, str], None]:
    """Note a kind of fault and what became of it; called last in a test, so only what passed is listed."""

    def note(kind: str, outcome: str) -> None:
        TRIED[kind] = outcome

    return note


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> object:
    """Tests of single faults say by a mark which kind they try."""
    report = yield
    mark = item.get_closest_marker("fault")
    if mark and report.when == "call" and report.passed:
        kind = mark.args[0].format(**getattr(getattr(item, "callspec", None), "params", {}))
        TRIED[kind] = mark.args[1]
    return report


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(kind, outcome): the kind of fault a test tries, and what becomes of it")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not TRIED:
        return
    terminalreporter.section(f"{len(TRIED)} kinds of faults tried and survived")
    width = max(map(len, TRIED))
    for kind in sorted(TRIED):
        terminalreporter.write_line(f"{kind:<{width}}  {TRIED[kind]}")
