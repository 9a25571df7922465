"""The view: where the pixels of a defocused photo are seen in a focused one; and copies of photos at smaller scales."""

from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates, spline_filter

from fastrefocus.arrays import BoolArray, FloatArray

Matrix = npt.NDArray[np.float64]

_Value = TypeVar("_Value", bound=np.generic)

#: Top, left, height and width of a window of a photo, pixels; it may reach beyond the photo.
Box = tuple[int, int, int, int]

#: Rows and columns of the defocused photo.
Window = tuple[slice, slice]

EVERYWHERE: Window = (slice(None), slice(None))

#: What is credible of a view: radians, ratio of the largest to the smallest magnification, and magnification.
_MOST_TURN, _MOST_STRETCH, _MOST_SCALE = 0.5, 1.4, 2.2


@dataclass(frozen=True, eq=False)
class CoarseMap:
    """A map over a window of a reduced copy of a photo, looked up between its pixels and, beyond it, at its border.

    `values` are float32 (..., h, w); `corner` is the window's top left in the copy; `width` that of the copy's pixels
    in pixels of the photo.
    """

    values: FloatArray
    corner: tuple[int, int]
    width: float = 1.0

    def at(self, box: Box) -> FloatArray:
        """Return the values at the photo's pixels in a window of it, (..., h, w)."""
        y, x = places_in(self.corner, self.values.shape[-2:], self.width, box)
        return _between(_between(self.values, y, -2), x, -1)

    def at_scale(self, factor: float) -> "CoarseMap":
        """Return the map of a photo whose pixels are `factor` times as wide."""
        return replace(self, width=self.width / factor)


@dataclass(frozen=True, eq=False)
class View:
    """A homography, 3x3, of (x, y, 1) from the defocused photo to the focused one, after a flow.

    The flow, (2, h, w) of (y, x) in its own pixels, is added to the places of the defocused photo's pixels before.
    `strays`, (h, w), is how far from itself each comes by the flow and one back; 1 and more: it is hidden.
    """

    homography: Matrix = field(default_factory=lambda: np.eye(3))
    flow: CoarseMap | None = None
    strays: CoarseMap | None = None

    def at_scale(self, factor: float) -> "View":
        """Return the view between copies whose pixels are `factor` times as wide."""
        enlarge = _enlargement(factor)
        flow, strays = (None if each is None else each.at_scale(factor) for each in (self.flow, self.strays))
        return View(_normalised(np.linalg.inv(enlarge) @ self.homography @ enlarge), flow, strays)

    def displacement(self, box: Box) -> FloatArray:
        """Return what the flow adds to the places of a window's pixels, (2, h, w)."""
        if self.flow is None:
            return np.zeros((2, *box[2:]), np.float32)
        return self.flow.at(box) * np.float32(self.flow.width)

    def seen_from(self, box: Box) -> FloatArray:
        """Return the (y, x) that is seen from each pixel of a window, (2, h, w)."""
        top, left, height, width = box
        y = np.arange(top, top + height, dtype=np.float64)[:, np.newaxis]
        x = np.arange(left, left + width, dtype=np.float64)
        if self.flow is not None:
            down, right = self.displacement(box)
            y, x = y + down, x + right
        h = self.homography
        depth = h[2, 0] * x + h[2, 1] * y + h[2, 2]
        seen = np.empty((2, height, width), np.float32)
        seen[0] = (h[1, 0] * x + h[1, 1] * y + h[1, 2]) / depth
        seen[1] = (h[0, 0] * x + h[0, 1] * y + h[0, 2]) / depth
        return seen

    def shows(self, box: Box, shape: tuple[int, ...]) -> BoolArray:
        """Return which of a window's pixels a focused photo of that shape shows, (h, w)."""
        shown = is_inside(shape, self.seen_from(box))
        if self.strays is not None:
            shown &= self.strays.at(box) < 1
        return shown

    def is_credible(self, box: Box) -> bool:
        """Whether the homography leaves a window in front of the camera, and there neither turns nor distorts it much.

        Looked at are its derivatives at the window's corners.
        """
        top, left, height, width = box
        h = self.homography
        corners = np.array([[x, y, 1.0] for x in (left, left + width) for y in (top, top + height)]) @ h.T
        if not np.isfinite(h).all() or corners[:, 2].min() <= 0:
            return False
        for x, y, depth in corners:
            slopes = (h[:2, :2] - np.outer([x / depth, y / depth], h[2, :2])) / depth
            largest, smallest = np.linalg.svd(slopes, compute_uv=False)
            turn = np.arctan2(slopes[1, 0] - slopes[0, 1], slopes[0, 0] + slopes[1, 1])
            if np.linalg.det(slopes) <= 0 or abs(turn) > _MOST_TURN or largest > _MOST_STRETCH * smallest:
                return False
            if smallest < 1 / _MOST_SCALE or largest > _MOST_SCALE:
                return False
        return True


def bounding_box(mask: BoolArray) -> Box:
    """Return the smallest window that holds all of a mask, which is not empty."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def bounding_window(mask: BoolArray, margin: int = 0) -> Window:
    """Return the slices of a mask's bounding box, widened by the margin as far as the photo goes."""
    top, left, height, width = bounding_box(mask)
    return (
        slice(max(top - margin, 0), min(top + height + margin, mask.shape[0])),
        slice(max(left - margin, 0), min(left + width + margin, mask.shape[1])),
    )


def crop(image: npt.NDArray[_Value], box: Box) -> npt.NDArray[_Value]:
    """Return a window of an image, whose border goes on beyond it."""
    rows = np.clip(np.arange(box[0], box[0] + box[2]), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(box[1], box[1] + box[3]), 0, image.shape[1] - 1)
    return image[rows[:, np.newaxis], columns]


def reduced(image: FloatArray, factor: int) -> FloatArray:
    """Return the means of squares of `factor` pixels a side; what is left over at the border is cut off."""
    if factor == 1:
        return image
    height, width = (size // factor for size in image.shape[:2])
    squares: FloatArray = image[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    means: FloatArray = squares.mean(axis=(1, 3), dtype=np.float32)
    return means.reshape(height, width, *image.shape[2:])


def places_in(
    corner: tuple[int, ...], shape: tuple[int, ...], width: float, box: Box
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return where rows and columns of a photo's window are in a window of a copy whose pixels are `width` as wide.

    `corner` and `shape` are the latter's; what is beyond it is at its border.
    """
    return tuple(
        np.clip((np.arange(first, first + count) - (width - 1) / 2) / width - start, 0, size - 1)
        for first, count, start, size in zip(box[:2], box[2:], corner, shape, strict=True)
    )


def _between(values: FloatArray, places: npt.NDArray[np.float64], axis: int) -> FloatArray:
    """Interpolate linearly along an axis."""
    before = np.minimum(places.astype(np.intp), max(values.shape[axis] - 2, 0))
    share = (places - before).astype(np.float32)
    if axis == -2:
        share = share[:, np.newaxis]
    first = np.take(values, before, axis)
    found: FloatArray = first + share * (np.take(values, np.minimum(before + 1, values.shape[axis] - 1), axis) - first)
    return found


class Sampler:
    """The part of an image, (H, W, C), that may be seen, ready to be looked up between its pixels by cubic splines.

    `seen` is (2, h, w) of (y, x); what is up to `slack` pixels from that may be looked up later.
    """

    def __init__(self, image: FloatArray, seen: FloatArray, slack: int) -> None:
        end = np.array(image.shape[:2])
        low = np.floor(seen.min(axis=(1, 2))).astype(int) - slack
        high = np.ceil(seen.max(axis=(1, 2))).astype(int) + slack
        self.shape = image.shape[:2]
        self._corner = np.clip(low, 0, np.maximum(end - 4, 0))
        part = image[tuple(map(slice, self._corner, np.maximum(high, self._corner + 4)))]
        self._splines = [spline_filter(part[..., i], 3, np.float32, mode="mirror") for i in range(part.shape[2])]

    def at(self, seen: FloatArray) -> FloatArray:
        """Return the image's values there, (h, w, C); beyond the image, those of its border."""
        seen = seen - self._corner[:, np.newaxis, np.newaxis].astype(np.float32)
        planes = [map_coordinates(c, seen, order=3, prefilter=False, mode="nearest") for c in self._splines]
        return np.stack(planes, axis=-1)


def is_inside(shape: tuple[int, ...], seen: FloatArray) -> BoolArray:
    """Return which of the places (y, x), (2, h, w), are inside an image, (h, w)."""
    inside = np.ones(seen.shape[1:], bool)
    for line, size in zip(seen, shape[:2], strict=True):
        inside &= (line >= 0) & (line <= size - 1)
    return inside


def _enlargement(factor: float) -> Matrix:
    middle = (factor - 1) / 2  # the first large pixel's centre
    return np.array([[factor, 0, middle], [0, factor, middle], [0, 0, 1]], np.float64)


def _normalised(homography: Matrix) -> Matrix:
    scaled: Matrix = homography / homography[2, 2]
    return scaled
