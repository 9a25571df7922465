"""Compare functions fairly: interleaved in one process, medians, and a table of ratios at the end of the run."""

import os
import statistics
import time
from collections.abc import Callable

import pytest

_PAUSE_S = 0.05  # for the thread pools of the peer before to stop spinning

_TABLES: dict[str, list[str]] = {}


def add_row(title: str, case: str, cells: dict[str, str]) -> None:
    """Add a row to the Markdown table of this title."""
    table = _TABLES.setdefault(title, [])
    if not table:
        table += [f"| {title} | {' | '.join(cells)} |", "| --- " * (len(cells) + 1) + "|"]
    table.append(f"| {case} | {' | '.join(cells.values())} |")


@pytest.fixture(name="add_row")
def add_row_fixture():
    """Give `add_row` to benchmarks that measure something other than time."""
    return add_row


@pytest.fixture
def one_cpu():
    """Keep the process, with all the threads that peers start, on one CPU."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system cannot bind a process to a CPU")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture
def compare(request, benchmark):
    """Time `ours` and its peers in turn; the ratios peer / ours go to the benchmark's extra info and to the table.

    A peer's time is divided by `steps[name]`, the number of steps that one call of it does.
    """

    def run(
        title: str,
        case: str,
        ours: Callable[[], object],
        peers: dict[str, Callable[[], object]],
        *,
        rounds: int = 7,
        steps: dict[str, int] | None = None,
    ) -> dict[str, float]:
        steps = steps or {}
        functions = {"ours": ours, **peers}
        times: dict[str, list[float]] = {name: [] for name in functions}
        for _ in range(rounds):
            for name, function in functions.items():
                time.sleep(_PAUSE_S)
                function()  # what ran before has left its own data in the caches
                start = time.perf_counter()
                function()
                times[name].append((time.perf_counter() - start) / steps.get(name, 1))
        ratios = {
            name: statistics.median(peer / own for peer, own in zip(times[name], times["ours"], strict=True))
            for name in peers
        }
        own = statistics.median(times["ours"])
        benchmark.pedantic(ours, rounds=3, warmup_rounds=1)
        benchmark.extra_info.update({f"{name} / ours": ratio for name, ratio in ratios.items()})
        add_row(title, case, {"ours, ms": f"{1000 * own:.2f}", **{name: f"{r:.2f}" for name, r in ratios.items()}})
        return ratios

    return run


def pytest_terminal_summary(terminalreporter):
    for table in _TABLES.values():
        terminalreporter.write_line("")
        for line in table:
            terminalreporter.write_line(line)
