import _thread
import doctest
import faulthandler
import threading
import time
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reference.scheduler import ArgmaxOrder, heap_order, level_batches, predecessors, window
from scipy import ndimage

from fastrefocus.native import _core
from fastrefocus.native._core import ConfidenceScheduler, DynamicOrder, confidence_batches, confidence_order

H, W = 23, 31


def _maps():
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:H, :W]
    ramp = (rows + 2 * columns).astype(np.float32)
    return {
        "random": rng.normal(size=(H, W)).astype(np.float32),
        "constant": np.full((H, W), -0.25, np.float32),
        "ramp up": ramp,
        "ramp down": -ramp,
        "plateaus": (rows // 5 + columns // 7).astype(np.float32) % 3,
        "infinite": rng.choice(np.array([-np.inf, -1, -0.0, 0.0, 1, np.inf], np.float32), (H, W)),
    }


MAPS = _maps()
MASK = np.random.default_rng(2).random((H, W)) < 0.6
each_map = pytest.mark.parametrize("confidence", MAPS.values(), ids=MAPS)
each_mask = pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
each_radius = pytest.mark.parametrize("radius", [0, 1, 2, 40])


@pytest.fixture(autouse=True)
def _end_a_hanging_run():
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@st.composite
def small_maps(draw):
    """A small map with many ties, a mask or none, and a radius."""
    shape = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    values = st.sampled_from(np.array([-np.inf, -1, -0.0, 0, 1e-45, 1, np.inf], np.float32))
    confidence = draw(arrays(np.float32, shape, elements=values))
    return confidence, draw(st.none() | arrays(bool, shape)), draw(st.integers(0, 8))


def drain(scheduler, max_count):
    while (pixels := scheduler.pop(max_count)).size:
        assert pixels.size <= max_count
        scheduler.done(pixels)
        yield pixels.tolist()


@each_mask
@each_map
def test_order_equals_heapq(confidence, mask):
    order = confidence_order(confidence, mask)
    assert order.dtype == np.int32
    assert order.tolist() == heap_order(confidence, mask)


@each_radius
@each_mask
@each_map
def test_batches_equal_levels(confidence, mask, radius):
    batches = confidence_batches(confidence, radius, mask)
    assert [batch.tolist() for batch in batches] == level_batches(confidence, radius, mask)


@given(small_maps())
def test_order_batches_and_queue_agree(case):
    confidence, mask, radius = case
    order = heap_order(confidence, mask)
    levels = level_batches(confidence, radius, mask)
    assert confidence_order(confidence, mask).tolist() == order
    assert [batch.tolist() for batch in confidence_batches(confidence, radius, mask)] == levels
    # One pixel at a time the queue gives the serial order; all that is ready at a time, the levels.
    assert [pixel for [pixel] in drain(ConfidenceScheduler(confidence, radius, mask), 1)] == order
    assert list(drain(ConfidenceScheduler(confidence, radius, mask), 100)) == levels


@given(st.data())
def test_random_float_bits_sort_as_numpy_sorts(data):
    bits = data.draw(arrays(np.uint32, (3, 5)))
    confidence = np.nan_to_num(bits.view(np.float32), nan=0.0, posinf=np.inf, neginf=-np.inf)
    assert confidence_order(confidence).tolist() == np.argsort(-confidence, axis=None, kind="stable").tolist()


def test_a_photo_has_few_levels():
    photo = skimage.data.camera()[:300, :280].astype(np.float32)
    contrast = ndimage.uniform_filter(ndimage.gaussian_gradient_magnitude(photo, 1.0), 5)
    batches = confidence_batches(contrast, 2)
    assert 200 < len(batches) < 600
    assert sum(len(batch) for batch in batches if len(batch) >= 32) > 0.98 * photo.size


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_a_flat_map_has_the_levels_of_raster_order(radius):
    # a pixel waits for its left neighbour and for the one `radius` to the right in the row above
    assert len(confidence_batches(MAPS["constant"], radius)) == W + (radius + 1) * (H - 1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_single_rows_and_columns(shape):
    confidence = np.zeros(shape, np.float32)
    pixels = list(range(confidence.size))
    assert confidence_order(confidence).tolist() == pixels
    assert list(drain(ConfidenceScheduler(confidence, 1), 9)) == [[pixel] for pixel in pixels]
    assert list(drain(ConfidenceScheduler(confidence, 0), 9)) == [pixels]


def test_empty_mask_yields_nothing():
    nothing = np.zeros((H, W), bool)
    confidence = np.full((H, W), np.nan, np.float32)
    scheduler = ConfidenceScheduler(confidence, 2, nothing)
    assert confidence_order(confidence, nothing).size == 0
    assert confidence_batches(confidence, 2, nothing) == []
    assert scheduler.remaining == 0
    assert scheduler.pop(1).size == 0
    assert len(DynamicOrder(confidence, nothing)) == 0


def test_strided_and_read_only_input():
    confidence = np.asfortranarray(MAPS["random"])
    mask = np.repeat(MASK, 2, axis=1)[:, ::2]
    confidence.flags.writeable = mask.flags.writeable = False
    assert confidence_order(confidence, mask).tolist() == heap_order(confidence, MASK)


# Threads


@pytest.mark.parametrize("threads", range(1, 9))
@each_map
def test_threads_assign_no_pixel_before_those_it_depends_on(confidence, threads):
    radius, before = 2, predecessors(confidence, 2, MASK)
    scheduler = ConfidenceScheduler(confidence, radius, MASK)
    assigned = np.zeros(confidence.size, np.int64)

    def work(worker):
        while (pixels := scheduler.pop(1 + worker)).size:
            for pixel in pixels.tolist():
                assert assigned[list(before[pixel])].all()
            assigned[pixels] += 1
            scheduler.done(pixels)

    run_threads(scheduler, work, threads)
    assert scheduler.remaining == 0
    np.testing.assert_array_equal(assigned.reshape(H, W), MASK)  # each once


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_threads_give_the_picture_of_the_serial_order(threads):
    # A symmetric neighbourhood also reads pixels that come later: those must not be assigned too soon.
    confidence = MAPS["plateaus"]

    def assign(picture, pixel):
        picture[pixel] = picture[[pixel, *window(pixel, (H, W), 2)]].sum() % 1009 + 1

    serial = np.arange(H * W)
    for pixel in heap_order(confidence):
        assign(serial, pixel)

    scheduler = ConfidenceScheduler(confidence, 2)
    picture = np.arange(H * W)

    def work(_):
        while (pixels := scheduler.pop(3)).size:
            for pixel in pixels.tolist():
                assign(picture, pixel)
            scheduler.done(pixels)

    run_threads(scheduler, work, threads)
    np.testing.assert_array_equal(picture, serial)


def run_threads(scheduler, work, threads):
    def work_or_cancel(worker):
        try:
            work(worker)
        except BaseException:
            scheduler.cancel()
            raise

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work_or_cancel, range(threads)))


def test_a_failing_worker_does_not_hang_the_others():
    scheduler = ConfidenceScheduler(np.zeros((1, 50), np.float32), 1)  # never more than one pixel is ready

    def work(_):
        while (pixels := scheduler.pop(1)).size:
            if pixels[0] == 20:
                raise ArithmeticError("worker failed")
            scheduler.done(pixels)

    with pytest.raises(ArithmeticError):
        run_threads(scheduler, work, 4)
    assert scheduler.remaining == 30


def test_cancelled_scheduler_takes_what_is_in_hand_and_gives_no_more():
    scheduler = ConfidenceScheduler(np.zeros((4, 4), np.float32), 0)
    pixels = scheduler.pop(5)
    scheduler.cancel()
    assert scheduler.pop(5).size == 0
    scheduler.done(pixels)
    assert scheduler.remaining == 11


def test_pop_ends_when_all_is_handed_out():
    scheduler = ConfidenceScheduler(np.zeros((2, 2), np.float32), 0)
    assert scheduler.pop(9).size == 4
    assert scheduler.pop(9).size == 0
    assert scheduler.remaining == 4


def test_done_wakes_a_waiting_pop_at_once():
    def seconds_to_wake(pool):
        scheduler = ConfidenceScheduler(np.zeros((1, 3), np.float32), 1)
        pixels = scheduler.pop(1)
        waiting = [pool.submit(scheduler.pop, 1), pool.submit(scheduler.pop, 1)]
        time.sleep(0.02)
        start = time.perf_counter()
        scheduler.done(pixels)
        woken, _ = futures.wait(waiting, return_when=futures.FIRST_COMPLETED)
        seconds = time.perf_counter() - start
        scheduler.cancel()
        assert [future.result().tolist() for future in woken] == [[1]]
        return seconds

    # pop looks up every 0.1 s by itself; the best of a few, for the machine may be busy
    with ThreadPoolExecutor(2) as pool:
        assert min(seconds_to_wake(pool) for _ in range(5)) < 0.04


def test_a_waiting_pop_can_be_interrupted():
    scheduler = ConfidenceScheduler(np.zeros((1, 2), np.float32), 1)
    scheduler.pop(1)
    interrupt = threading.Timer(0.1, _thread.interrupt_main)
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        scheduler.pop(1)


# An order that changes on the way


@settings(max_examples=50)
@given(small_maps(), st.data())
def test_dynamic_order_equals_argmax(case, data):
    confidence, mask, radius = case
    order, reference = DynamicOrder(confidence, mask), ArgmaxOrder(confidence, mask)
    priorities = st.sampled_from(np.array([-np.inf, -1, -0.0, 0, 1, np.inf], np.float32))
    for left in reversed(range(len(order))):
        pixel = order.pop()
        assert pixel == reference.pop()
        assert len(order) == left
        near = [q for q in window(pixel, confidence.shape, radius) if reference.waiting[q]]
        changed = data.draw(arrays(np.float32, len(near), elements=priorities))
        order.update(np.array(near, np.int64), changed)
        reference.update(near, changed)
    with pytest.raises(IndexError, match="no pixel waits"):
        order.pop()


def test_dynamic_order_on_a_larger_map():
    rng = np.random.default_rng(4)
    order, reference = DynamicOrder(MAPS["random"], MASK), ArgmaxOrder(MAPS["random"], MASK)
    while len(order):
        pixel = order.pop()
        assert pixel == reference.pop()
        near = [q for q in window(pixel, (H, W), 2) if reference.waiting[q]]
        changed = rng.normal(size=len(near)).astype(np.float32)
        order.update(np.array(near, np.int32), changed)
        reference.update(near, changed)


# Wrong input


FLAT = np.zeros((3, 4), np.float32)
MAKERS = [
    confidence_order,
    lambda confidence, mask=None: confidence_batches(confidence, 1, mask),
    lambda confidence, mask=None: ConfidenceScheduler(confidence, 1, mask),
    DynamicOrder,
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("confidence", "mask", "error", "message"),
    [
        (FLAT.astype(np.float64), None, TypeError, r"confidence must have dtype float32, got float64"),
        (FLAT.astype(">f4"), None, TypeError, r"confidence must have dtype float32, got >f4"),
        (FLAT[0], None, ValueError, r"confidence must have shape \(H, W\).* got \(4,\)"),
        (FLAT[:0], None, ValueError, r"confidence must have shape .* got \(0, 4\)"),
        (np.broadcast_to(FLAT[0, 0], (2**16, 2**15)), None, ValueError, r"fewer than 2\^31 pixels"),
        (FLAT, np.ones((4, 3), bool), ValueError, r"mask must have confidence's shape \(3, 4\), got \(4, 3\)"),
        (FLAT, np.ones((3, 4), np.uint8), TypeError, "mask must have dtype bool, got uint8"),
        ([[1.0]], None, TypeError, "confidence: numpy.ndarray"),
    ],
)
def test_wrong_maps_are_refused(make, confidence, mask, error, message):
    with pytest.raises(error, match=message):
        make(confidence, mask)


@pytest.mark.parametrize("make", MAKERS)
def test_nan_is_refused_inside_the_mask_only(make):
    confidence = FLAT.copy()
    confidence[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"confidence must not be NaN inside the mask, got NaN at \(1, 2\)"):
        make(confidence)
    make(confidence, ~np.isnan(confidence))


@pytest.mark.parametrize("make", [confidence_batches, ConfidenceScheduler])
def test_wrong_radius_is_refused(make):
    with pytest.raises(ValueError, match="radius must be >= 0, got -1"):
        make(FLAT, -1)
    with pytest.raises(TypeError):
        make(FLAT, 1.5)


def test_huge_radius_is_the_whole_map():
    assert len(confidence_batches(FLAT, 2**60)) == FLAT.size


def test_wrong_pop_is_refused():
    with pytest.raises(ValueError, match="max_count must be >= 1, got 0"):
        ConfidenceScheduler(FLAT, 1).pop(0)


@pytest.mark.parametrize("pixels", [[11], [0, 0], [0, 12], [0, -1], [0, 2**40], [5]])
def test_wrong_done_is_refused_and_changes_nothing(pixels):
    scheduler = ConfidenceScheduler(FLAT, 1)
    assert scheduler.pop(12).tolist() == [0]
    with pytest.raises(ValueError, match=r"pixels must .* got"):
        scheduler.done(np.array(pixels))
    assert scheduler.remaining == 12
    scheduler.done(np.array([0]))
    assert scheduler.remaining == 11


def test_pixels_cannot_be_done_twice():
    scheduler = ConfidenceScheduler(FLAT, 1)
    pixels = scheduler.pop(1)
    scheduler.done(pixels)
    with pytest.raises(ValueError, match="handed out by pop and not yet done, got 0"):
        scheduler.done(pixels)


@pytest.mark.parametrize("call", [ConfidenceScheduler(FLAT, 1).done, lambda p: DynamicOrder(FLAT).update(p, p)])
def test_pixels_of_the_wrong_type_are_refused(call):
    with pytest.raises(TypeError, match="pixels must hold integers, got dtype float32"):
        call(np.zeros(1, np.float32))
    with pytest.raises(ValueError, match=r"pixels must have shape \(N,\), got \(1, 1\)"):
        call(np.zeros((1, 1), np.int32))


@pytest.mark.parametrize(
    ("pixels", "priorities", "error", "message"),
    [
        ([1, 0], np.ones(2, np.float32), ValueError, "pixels must be waiting for pop, got 0"),
        ([1, 12], np.ones(2, np.float32), ValueError, "pixels must be waiting for pop, got 12"),
        ([1, 2], np.array([1, np.nan], np.float32), ValueError, "priorities must not be NaN, got NaN at index 1"),
        ([1, 2], np.ones(3, np.float32), ValueError, r"priorities must have the shape of pixels \(2,\), got \(3,\)"),
        ([1, 2], np.ones(2), TypeError, "priorities must have dtype float32, got float64"),
    ],
)
def test_wrong_update_is_refused_and_changes_nothing(pixels, priorities, error, message):
    order = DynamicOrder(np.arange(12, 0, -1, dtype=np.float32).reshape(3, 4))
    assert order.pop() == 0
    with pytest.raises(error, match=message):
        order.update(np.array(pixels), priorities)
    assert [order.pop() for _ in range(11)] == list(range(1, 12))


@pytest.mark.parametrize("name", ["confidence_order", "confidence_batches", "ConfidenceScheduler", "DynamicOrder"])
def test_docstring_examples(name):
    # doctest's own collection passes over compiled modules
    examples = doctest.DocTestParser().get_doctest(getattr(_core, name).__doc__, {}, name, None, 0)
    assert examples.examples
    assert doctest.DocTestRunner().run(examples).failed == 0
