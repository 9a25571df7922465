"""The view: where the pixels of a defocused photo are seen in a focused one; and copies of photos at smaller scales."""

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from fastrefocus.arrays import FloatArray

Matrix = npt.NDArray[np.float64]

_Value = TypeVar("_Value", bound=np.generic)

#: Top, left, height and width of a window of a photo, pixels; it may reach beyond the photo.
Box = tuple[int, int, int, int]

#: What is credible of a view: radians, ratio of the largest to the smallest magnification, and magnification.
_MOST_TURN, _MOST_STRETCH, _MOST_SCALE = 0.5, 1.4, 2.2


@dataclass(frozen=True, eq=False)
class View:
    """A homography, 3x3, of (x, y, 1) from the defocused photo to the focused one, after a flow.

    The flow, (H, W, 2) of (y, x) in pixels of the whole defocused photo, is added to its pixels' places before.
    """

    homography: Matrix = field(default_factory=lambda: np.eye(3))
    flow: FloatArray | None = None

    def at_scale(self, factor: int) -> "View":
        """Return the view between copies whose pixels are `factor` times as wide."""
        enlarge = _enlargement(factor)
        flow = None if self.flow is None else reduced(self.flow, factor) / np.float32(factor)
        return View(_normalised(np.linalg.inv(enlarge) @ self.homography @ enlarge), flow)

    def from_scale(self, factor: int, shape: tuple[int, ...] = ()) -> "View":
        """Undo `at_scale`; a view with a flow needs the photo's shape."""
        enlarge = _enlargement(factor)
        flow = self.flow
        if flow is not None and factor > 1:
            planes = [spread(factor * plane, (0, 0, *plane.shape), factor, shape) for plane in np.moveaxis(flow, -1, 0)]
            flow = np.stack(planes, axis=-1)
        return View(_normalised(enlarge @ self.homography @ np.linalg.inv(enlarge)), flow)

    def seen_from(self, box: Box) -> FloatArray:
        """Return the (y, x) that is seen from each pixel of a window, (2, h, w)."""
        top, left, height, width = box
        y = np.arange(top, top + height, dtype=np.float64)[:, np.newaxis]
        x = np.arange(left, left + width, dtype=np.float64)
        if self.flow is not None:
            flow = crop(self.flow, box)
            y, x = y + flow[..., 0], x + flow[..., 1]
        h = self.homography
        depth = h[2, 0] * x + h[2, 1] * y + h[2, 2]
        seen = np.empty((2, height, width), np.float32)
        seen[0] = (h[1, 0] * x + h[1, 1] * y + h[1, 2]) / depth
        seen[1] = (h[0, 0] * x + h[0, 1] * y + h[0, 2]) / depth
        return seen

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


def spread(window: FloatArray, box: Box, factor: int, shape: tuple[int, ...]) -> FloatArray:
    """Lay a window's map, (h, w), of a reduced copy on the whole photo, (H, W); 0 beyond the window."""
    y, x = (
        ((np.arange(size, dtype=np.float32) - (factor - 1) / 2) / factor - start)
        for size, start in zip(shape[:2], box[:2], strict=True)
    )
    places = np.broadcast_arrays(y[:, np.newaxis], x)
    return np.asarray(map_coordinates(window, places, order=1, output=np.float32, mode="constant"))


def _enlargement(factor: int) -> Matrix:
    middle = (factor - 1) / 2  # the first large pixel's centre
    return np.array([[factor, 0, middle], [0, factor, middle], [0, 0, 1]], np.float64)


def _normalised(homography: Matrix) -> Matrix:
    scaled: Matrix = homography / homography[2, 2]
    return scaled
