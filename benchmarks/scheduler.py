"""The scheduler against Python's heapq, in one process: ``pytest benchmarks/scheduler.py``.

In each group the brackets in the table are the ratios to the fastest. One million pixels: the peer is heapq
with heapify and one pop a pixel, which gives the serial order and nothing more; the batches and the ready
queue keep the dependencies of a 5x5 window besides. 300 x 300: the peer keeps them too, in plain Python.
"""

import heapq

import numpy as np
import pytest
from reference.scheduler import heap_order, predecessors, window
from scipy import ndimage

from fastrefocus.native._core import ConfidenceScheduler, confidence_batches, confidence_order

RADIUS = 2  # paper B's 5x5 window


def make_map(kind, size):
    confidence = np.random.default_rng(0).random((size, size), np.float32)
    return ndimage.uniform_filter(confidence, 5) if kind == "averaged" else confidence


def drain(confidence, max_count=256):
    scheduler = ConfidenceScheduler(confidence, RADIUS)
    while (pixels := scheduler.pop(max_count)).size:
        scheduler.done(pixels)
    assert scheduler.remaining == 0


def heap_schedule(confidence, before):
    """Pop the best ready pixel, count down those that wait for it, push those that are then ready."""
    values = confidence.ravel().tolist()
    pending = {pixel: len(others) for pixel, others in before.items()}
    ready = [(-values[pixel], pixel) for pixel, count in pending.items() if count == 0]
    heapq.heapify(ready)
    while ready:
        pixel = heapq.heappop(ready)[1]
        for other in window(pixel, confidence.shape, RADIUS):
            if pixel in before[other]:
                pending[other] -= 1
                if pending[other] == 0:
                    heapq.heappush(ready, (-values[other], other))


MILLION = {
    "heapq": heap_order,
    "order": confidence_order,
    "batches": lambda confidence: confidence_batches(confidence, RADIUS),
    "ready queue": drain,
}


@pytest.mark.parametrize("run", MILLION.values(), ids=MILLION)
@pytest.mark.parametrize("kind", ["random", "averaged"])
def test_a_million_pixels(benchmark, kind, run):
    benchmark.group = f"1000 x 1000, {kind} confidence"
    benchmark.pedantic(run, (make_map(kind, 1000),), rounds=3 if run is heap_order else 10, warmup_rounds=1)


@pytest.mark.parametrize("peer", [True, False], ids=["heapq", "ready queue"])
def test_with_dependencies(benchmark, peer):
    benchmark.group = "300 x 300, dependencies kept"
    confidence = make_map("averaged", 300)
    before = predecessors(confidence, RADIUS) if peer else None  # counted beforehand, to the peer's advantage
    run = (lambda: heap_schedule(confidence, before)) if peer else (lambda: drain(confidence))
    benchmark.pedantic(run, rounds=3 if peer else 20, warmup_rounds=1)
