"""Regions restored part by part, so that memory stays small, and put together without seams."""

from collections.abc import Iterator, Sequence

import numpy as np

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.progress import Callback, part_of
from fastrefocus.synthesis.example import Example
from fastrefocus.synthesis.fusion import Fusion, fuse
from fastrefocus.synthesis.regions import Region
from fastrefocus.synthesis.view import Window, bounding_window

_MOST_PIXELS = 1_200_000  # of the box around a part
_MARGIN = 48  # pixels around a part in which examples are looked for, or more for a large PSF
_FARTHER = (4000, 2000, 1000, 500, 250, 120)  # and if examples were marked, so far as to reach them
_OVERLAP = 8  # pixels by which a part reaches into its neighbours
_TRANSITION = 3.0  # standard deviation of the smoothing between them, pixels
_LEAST_WEIGHT = np.float32(1e-6)


def restore(
    photo: FloatArray,
    examples: Sequence[Example],
    regions: Sequence[Region],
    mask: BoolArray,
    *,
    threads: int | None = None,
    callback: Callback | None = None,
) -> tuple[Window, Fusion]:
    """Restore the regions, which divide the mask; arguments as of `fusion.fuse`.

    A photo of one channel, (H, W, 1), is restored by the luminance of the examples.

    Returns
    -------
    tuple of slice
        The mask's bounding box.
    Fusion
        What is in it. The source is a place in the focused photos as they were given.
    """
    parts = [part for region in regions for part in _split(region)]
    frame = bounding_window(mask)
    canvas = _Canvas(mask[frame], frame, photo.shape[2])
    for number, part in enumerate(parts):
        window = _surroundings(part, examples)
        sources = [(view, view.sources(window)) for example in examples for view in example.views()]
        near = [(example, source) for example, source in sources if source.any()]
        fusion = fuse(
            photo[window],
            [example.shown(window, grey=photo.shape[2] == 1) for example, _ in near],
            part.psf,
            _widened(part.mask, window) & mask[window],
            [source for _, source in near],
            exact=[example.exact(window) for example, _ in near],
            model_error=part.difference,
            threads=threads,
            callback=part_of(callback, number, len(parts)),
        )
        canvas.add(fusion, window, part.mask[window], [example for example, _ in near])
    return frame, canvas.fusion(photo[frame])


def _split(region: Region) -> Iterator[Region]:
    """Halve a region until its box is small enough."""
    window = rows, columns = bounding_window(region.mask)
    if _area(window) <= _MOST_PIXELS:
        yield region
        return
    upright = rows.stop - rows.start > columns.stop - columns.start
    middle = (rows.start + rows.stop) // 2 if upright else (columns.start + columns.stop) // 2
    for side in (slice(0, middle), slice(middle, None)):
        half = np.zeros_like(region.mask)
        part = np.s_[side, :] if upright else np.s_[:, side]
        half[part] = region.mask[part]
        if half.any():
            yield from _split(region._replace(mask=half))


def _surroundings(part: Region, examples: Sequence[Example]) -> Window:
    """Return the window in which examples for a part are looked for."""
    least = max(_MARGIN, 2 * max(part.psf.shape))
    farther = _FARTHER if any(example.mask is not None for example in examples) else ()
    windows = [bounding_window(part.mask, max(margin, least)) for margin in (*farther, least)]
    return next((window for window in windows if _area(window) <= _MOST_PIXELS), windows[-1])


def _area(window: Window) -> int:
    rows, columns = window
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


def _widened(mask: BoolArray, window: Window) -> BoolArray:
    from scipy.ndimage import maximum_filter

    wider: BoolArray = maximum_filter(mask[window], 2 * _OVERLAP + 1)
    return wider


class _Canvas:
    """Each pixel is the mean of what the parts say that it lies in, by their weights; its source the own part's."""

    def __init__(self, mask: BoolArray, frame: Window, channels: int) -> None:
        shape = mask.shape
        self._mask = mask
        self._frame = frame
        self._sums = np.zeros((*shape, channels + 2), np.float32)  # image, share of the copy, confidence
        self._weights = np.zeros(shape, np.float32)
        self._source = np.full((*shape, 3), -1, np.int32)

    def add(self, fusion: Fusion, window: Window, part: BoolArray, examples: Sequence[Example]) -> None:
        from scipy.ndimage import gaussian_filter

        here, there = _overlap(self._frame, window)
        restored = ~np.isnan(fusion.confidence)
        weight = np.where(restored, gaussian_filter(part.astype(np.float32), _TRANSITION) + _LEAST_WEIGHT, 0)
        said = np.dstack([fusion.image, fusion.copied, np.where(restored, fusion.confidence, 0)])
        self._sums[here] += (weight[..., np.newaxis] * said)[there]
        self._weights[here] += weight[there]
        for number, example in enumerate(examples):
            own = (part & (fusion.source[..., 0] == number))[there]
            self._source[here][own] = example.origin(window, fusion.source[there][own][:, 1:])

    def fusion(self, photo: FloatArray) -> Fusion:
        """Return all of it; outside the mask the photo's."""
        means = self._sums
        means /= np.where(self._mask, self._weights, np.float32(1))[..., np.newaxis]
        return Fusion(
            np.where(self._mask[..., np.newaxis], means[..., :-2], photo),
            np.ascontiguousarray(means[..., -2]),
            np.where(self._mask, means[..., -1], np.float32(np.nan)),
            self._source,
        )


def _overlap(frame: Window, window: Window) -> tuple[Window, Window]:
    """Return what two windows of a photo share, as a part of each."""
    common = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(frame, window, strict=True)]
    rows, columns = (
        (slice(low - a.start, high - a.start), slice(low - b.start, high - b.start))
        for (low, high), a, b in zip(common, frame, window, strict=True)
    )
    return (rows[0], columns[0]), (rows[1], columns[1])
