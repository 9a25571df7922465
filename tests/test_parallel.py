import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from fastrefocus import Cancelled, progress
from fastrefocus.parallel import thread_count, thread_imap, thread_map
from fastrefocus.progress import Progress


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def run(clock, total, seconds_a_step, **options):
    """Report every step of a stage and return the calls, each with its time."""
    calls = []
    report = Progress(lambda *call: calls.append((clock.now, *call)), "stage", total)
    for done in range(1, total + 1):
        clock.now += seconds_a_step
        report(done)
    return calls


def test_at_most_ten_calls_a_second_and_always_the_last(clock):
    calls = run(clock, 1000, 0.007)
    times = [call[0] for call in calls]
    assert len(calls) > 60
    assert min(np.diff(times[:-1])) >= 0.1
    assert calls[0][1:] == ("stage", 1, 1000)
    assert calls[-1][1:] == ("stage", 1000, 1000)


def test_slow_steps_are_all_reported(clock):
    assert [call[2] for call in run(clock, 5, 0.3)] == [1, 2, 3, 4, 5]


def test_an_instant_stage_reports_its_first_and_last_step(clock):
    assert [call[2] for call in run(clock, 50, 0)] == [1, 50]


def test_after_counts_from_the_part_before(clock):
    calls = []
    part = Progress(lambda *call: calls.append(call), "grid", 60).after(30)
    part(30)
    assert calls == [("grid", 60, 60)]


@pytest.mark.parametrize("answer", [False, np.False_])
def test_false_cancels(answer):
    with pytest.raises(Cancelled, match="cancelled by the callback at deblur 1/9"):
        Progress(lambda *call: answer, "deblur", 9)(1)


@pytest.mark.parametrize("answer", [None, True, 0, "", np.True_])
def test_nothing_else_cancels(answer):
    Progress(lambda *call: answer, "deblur", 9)(9)


def test_no_callback_is_fine_and_a_wrong_one_is_not():
    Progress(None, "deblur", 9)(9)
    with pytest.raises(TypeError, match="callback must be callable or None, got int"):
        Progress(3, "deblur", 9)


def test_thread_count(monkeypatch):
    assert thread_count(3) == 3
    assert thread_count(None) >= 1
    monkeypatch.setattr("fastrefocus.parallel.os", SimpleNamespace(cpu_count=lambda: None))  # neither known
    assert thread_count(None) == 1


@pytest.mark.parametrize(
    ("threads", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (1025, ValueError),
        (2**40, ValueError),
        (1.0, TypeError),
        ("2", TypeError),
        (True, TypeError),
    ],
)
def test_wrong_thread_counts_are_refused(threads, error):
    with pytest.raises(error, match="threads must be"):
        thread_count(threads)


@pytest.mark.parametrize(("threads", "items", "own_thread"), [(1, 3, True), (4, 1, True), (4, 0, True), (2, 3, False)])
def test_thread_map_keeps_the_order_and_the_callers_thread_where_one_is_enough(threads, items, own_thread):
    with thread_map(threads, items) as run:
        assert run(lambda x: 10 * x, range(items)) == [10 * x for x in range(items)]
        idents = run(lambda x: threading.get_ident(), range(items))
    assert (threading.get_ident() in idents) == (own_thread and items > 0)
    assert len(set(idents)) <= threads


def test_thread_map_starts_no_more_threads_than_asked_for_and_leaves_none():
    before = threading.active_count()
    barrier = threading.Barrier(2)
    with thread_map(2, 100) as run:
        run(lambda x: barrier.wait(timeout=10), range(2))  # two at a time
        assert threading.active_count() == before + 2
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 2])
def test_errors_in_a_thread_reach_the_caller(threads):
    with pytest.raises(ZeroDivisionError), thread_map(threads, 2) as run:
        run(lambda x: 1 // x, [1, 0])


@pytest.mark.parametrize(("threads", "items", "own_thread"), [(1, 3, True), (4, 1, True), (4, 0, True), (2, 9, False)])
def test_thread_imap_keeps_the_order_and_the_callers_thread_where_one_is_enough(threads, items, own_thread):
    def work(item):
        time.sleep(0.002 * (item % 3 == 0))  # the first of three is the last to be ready
        return 10 * item, threading.get_ident()

    results = list(thread_imap(work, range(items), threads))
    assert [result for result, _ in results] == [10 * i for i in range(items)]
    idents = {ident for _, ident in results}
    assert (threading.get_ident() in idents) == (own_thread and items > 0)
    assert len(idents) <= threads


def test_thread_imap_gives_results_as_they_come_and_runs_side_by_side():
    before = threading.active_count()
    barrier, last = threading.Barrier(2), threading.Event()

    def work(item):
        if item == 3:
            last.wait(timeout=10)
        else:
            barrier.wait(timeout=10) if item < 2 else None
        return item

    results = thread_imap(work, range(4), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]  # while the last one is still at work
    assert threading.active_count() <= before + 2
    last.set()
    assert list(results) == [3]
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 2])
def test_closing_thread_imap_gives_up_what_is_not_begun(threads):
    before = threading.active_count()
    begun = []

    def work(item):
        begun.append(item)
        time.sleep(0.01)
        return item

    results = thread_imap(work, range(1000), threads)
    assert next(results) == 0
    results.close()
    assert len(begun) < 20
    assert threading.active_count() == before
    assert next(results, None) is None


@pytest.mark.parametrize("threads", [1, 2])
def test_errors_in_a_thread_of_thread_imap_reach_the_caller_in_order(threads):
    before = threading.active_count()
    results = thread_imap(lambda x: 1 // x, [1, 0] + [1] * 100, threads)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [0, 1.0])
def test_thread_imap_refuses_wrong_thread_counts(threads):
    with pytest.raises((TypeError, ValueError), match="threads must be"):
        next(thread_imap(abs, [1, 2], threads))
