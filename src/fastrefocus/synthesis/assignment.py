"""The assignment of pixels under both constraints (paper B, sections 2.2 and 3.2), on several threads."""

from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np

from fastrefocus.arrays import BoolArray
from fastrefocus.native import _core
from fastrefocus.parallel import thread_count
from fastrefocus.progress import Progress
from fastrefocus.synthesis.candidates import Candidates
from fastrefocus.synthesis.library import Bytes, Indices, PatchLibrary
from fastrefocus.synthesis.order import as_priorities

#: The weights of the constraints are integers: this one, and its multiple for texture.
IMAGE_WEIGHT = 1024

_PIXELS_PER_THREAD = 1000  # for fewer, a thread is not worth its start
_POLL_S = 0.05


def assign(
    library: PatchLibrary,
    photo: Bytes,
    mask: BoolArray,
    candidates: Candidates,
    order: Indices,
    *,
    causal: bool,
    texture_weight: int,
    passes: int,
    threads: int | None,
    progress: Progress,
) -> tuple[Bytes, Indices]:
    """Choose one of the candidates for each pixel, in order.

    Returns
    -------
    picture : ndarray
        (H, W, C) uint8; outside the mask the photo.
    chosen : ndarray
        (M,) int32: the candidate of each pixel of the mask, in raster order.
    """
    slots = np.full(mask.shape, -1, np.int32)
    slots[mask] = np.arange(len(order), dtype=np.int32)
    ranks = np.empty(len(order), np.int32)
    ranks[slots.ravel()[order]] = np.arange(len(order), dtype=np.int32)
    assignment = _core.TextureAssignment(
        library.context_tree,
        *library.rows_apart,
        slots,
        ranks if causal else None,
        library.patch_size,
        candidates.colours,
        candidates.distances,
        candidates.patches,
        IMAGE_WEIGHT,
        texture_weight,
        first_guess(photo, mask, candidates),
    )
    priorities = as_priorities(order, mask.shape)
    radius = max(library.patch_size // 2, 1)  # neighbours also guess from one another
    for done in range(passes):
        scheduler = _core.ConfidenceScheduler(priorities, radius, mask)
        _work_off(assignment, scheduler, threads, progress, done * len(order))
    return assignment.picture, assignment.chosen


def first_guess(photo: Bytes, mask: BoolArray, candidates: Candidates) -> Bytes:
    """Give every pixel its most probable candidate."""
    picture = photo.copy()
    for i in range(photo.shape[2]):
        picture[mask, i] = candidates.colours[:, 0] >> np.uint32(8 * i) & np.uint32(255)
    return picture


def _work_off(
    assignment: _core.TextureAssignment,
    scheduler: _core.ConfidenceScheduler,
    threads: int | None,
    progress: Progress,
    done_before: int,
) -> None:
    """Run the assignment on threads, while this one reports and can be interrupted."""
    total = scheduler.remaining

    def work() -> None:
        try:
            assignment.run(scheduler)
        except BaseException:
            scheduler.cancel()  # or the others would wait for pixels of this one
            raise

    workers = min(thread_count(threads), -(-total // _PIXELS_PER_THREAD))
    with ThreadPoolExecutor(workers, thread_name_prefix="fastrefocus") as pool:
        try:
            futures = [pool.submit(work) for _ in range(workers)]
            while wait(futures, timeout=_POLL_S).not_done:
                progress(done_before + total - scheduler.remaining)
        except BaseException:
            scheduler.cancel()
            raise
    for future in futures:
        future.result()
    progress(done_before + total)
