"""Gauss-Newton steps towards the view that explains a defocused photo best.

The model, blurred, is moved rather than the focused photo: to first order, a small homography before the view changes
the model by its slopes times the displacement (Lucas and Kanade's way). Gain and offset, as polynomials, are unknowns
of the same equations, so that light that falls off is not taken for motion.
"""

import numpy as np

from fastrefocus.synthesis.comparison import (
    Blur,
    Comparison,
    Explanation,
    huber_weights,
    least_squares,
    places,
    polynomials,
    samples,
)
from fastrefocus.synthesis.view import Matrix, View

#: What may change, as columns of changes of a homography's eight numbers, row by row.
HOMOGRAPHY = np.eye(8)
SIMILARITY = np.zeros((8, 4))  # shift along x and y, scale, rotation
SIMILARITY[[2, 5, 0, 4, 1, 3], [0, 1, 2, 2, 3, 3]] = 1, 1, 1, 1, -1, 1

_STEPS = 12
_CONVERGED = 0.005  # pixels


def improve(comparison: Comparison, view: View, blur: Blur, freedom: Matrix) -> tuple[View, float]:
    """Change the homography as the freedom allows, and return the view that leaves the least, and what it leaves."""
    explained = comparison.explain(view, blur)
    best = view, explained.residual
    for _ in range(_STEPS):
        if not np.isfinite(explained.residual):
            break
        change, size = _step(comparison, explained, freedom)
        view = View(view.homography @ change, view.flow)
        if not view.is_credible(comparison.box):
            break
        explained = comparison.explain(view, blur)
        if explained.residual < best[1]:
            best = view, explained.residual
        if size < _CONVERGED or explained.residual > 1.5 * best[1]:
            break
    return best


def _step(comparison: Comparison, explained: Explanation, freedom: Matrix) -> tuple[Matrix, float]:
    """Return the small homography that explains the differences to first order, and its largest displacement."""
    image = explained.image()[..., 0]
    chosen = samples(explained.pixels)
    slope_y, slope_x = (slope.ravel()[chosen] for slope in np.gradient(image))
    one, x, y, *_ = polynomials(chosen, image.shape, 2)
    along_x, along_y = [one * slope_x, x * slope_x, y * slope_x], [one * slope_y, x * slope_y, y * slope_y]
    towards = x * slope_x + y * slope_y
    # In the order of HOMOGRAPHY's rows; to first order (x, y) / (1 + g x + h y) = (x, y) (1 - g x - h y).
    motion = [along_x[1], along_x[2], along_x[0], along_y[1], along_y[2], along_y[0], -x * towards, -y * towards]
    shape = polynomials(chosen, image.shape, 2)
    columns = np.concatenate(
        [np.einsum("ik,ij->jk", np.stack(motion), freedom), shape * explained.blurred[..., 0].ravel()[chosen], shape]
    )
    left = (comparison.defocused[..., 0] - image).ravel()[chosen].astype(np.float64)
    change = freedom @ least_squares(columns, left, huber_weights(left))[: freedom.shape[1]]
    return _in_pixels(change, comparison), float(np.abs(change).max())


def _in_pixels(change: Matrix, comparison: Comparison) -> Matrix:
    """Return the small homography of pixels, its numbers being displacements in pixels at the window's ends."""
    top, left, height, width = comparison.box
    scale = max(height, width) / 2
    x, y = (line.ravel()[0] for line in places(height, width))
    to_places = np.array([[1 / scale, 0, x - left / scale], [0, 1 / scale, y - top / scale], [0, 0, 1]])
    small = np.eye(3) + np.append(change, 0).reshape(3, 3) / scale
    return np.linalg.solve(to_places, small @ to_places)
