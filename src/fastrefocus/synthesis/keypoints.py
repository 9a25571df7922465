"""The first guess of the view from which a focused photo was taken: as it is, phase correlation, and keypoints."""

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, maximum_filter

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.light import encode
from fastrefocus.parallel import thread_map
from fastrefocus.synthesis.comparison import Blur, Comparison, Pair
from fastrefocus.synthesis.gauss_newton import SIMILARITY, improve
from fastrefocus.synthesis.view import Matrix, View

#: Pixels, standard deviation: blurs of the focused photo among which its keypoints are looked for.
_BLURS = (1.5, 0.0, 3.0)

_COARSE_SIDE = 560  # pixels: keypoints are looked for on copies reduced to this
_FIRST_SIDE = 96  # of the window at the scale at which guesses are compared
_FIRST_REACH = 16  # pixels of that scale around the mask
_CONVINCING = 0.9  # share explained from which on no other view is looked for
_FEWEST = 8  # pairs of keypoints that a view may rest on
_NEAR = 12  # pixels around the mask in which keypoints count
_TOLERANCE = 2.0  # pixels
_SEED = 7
_SCALES = (0.45, 2.2)


def guess(pair: Pair, threads: int | None, progress: Callable[[float], None], *known: View) -> tuple[View, Blur]:
    """Return the best of the likely views of two grey photos, refined as a similarity at a small scale, and the blur.

    `known` views are looked at, too; `progress` is told the share that is done.
    """
    first = min(-(-max(pair.mask.shape) // _COARSE_SIDE), pair.coarsest())
    middle = pair.at_scale(first)
    second = min(max(middle.side() // _FIRST_SIDE, 1), middle.coarsest())
    small = middle.at_scale(second)

    def refined(guessed: View) -> tuple[float, View, Blur]:
        view = guessed.at_scale(second)
        comparison = Comparison(small, view, _FIRST_REACH)
        if not view.is_credible(comparison.box):
            return np.inf, View(), Blur(1)
        blur = comparison.fit_blur(view, degree=0)
        view, residual = improve(comparison, view, blur, SIMILARITY)
        return residual, view, blur

    best: tuple[float, View, Blur] = (np.inf, View(), Blur(1))
    with thread_map(threads, 2 + len(known)) as map_:
        for i, views in enumerate(_likely_views(middle, [view.at_scale(first) for view in known])):
            best = min([best, *map_(refined, views)], key=lambda found: found[0])
            progress((i + 1) / (1 + len(_BLURS)))
            if Comparison(small, best[1], _FIRST_REACH).share_explained(*best[1:]) > _CONVINCING:
                break
    return best[1].at_scale(1 / (first * second)), best[2].at_scale(1 / (first * second))


def _likely_views(pair: Pair, known: list[View]) -> Iterator[list[View]]:
    """Yield views from the defocused photo to the focused one, the less dear to find first."""
    defocused, focused = pair.defocused[..., 0], pair.focused[..., 0]
    near = maximum_filter(pair.mask, 2 * _NEAR + 1)
    yield [View(), View(_shift(defocused, focused, near)), *known]
    positions, descriptors = _keypoints(encode(defocused), near)
    for sigma in _BLURS:
        blurred = encode(gaussian_filter(focused, sigma) if sigma else focused)
        others, their_descriptors = _keypoints(blurred, np.ones(focused.shape, bool))
        if min(len(descriptors), len(their_descriptors)) >= _FEWEST:
            yield [View(h) for h in _from_pairs(*_matched(positions, descriptors, others, their_descriptors))]


def _shift(defocused: FloatArray, focused: FloatArray, near: BoolArray) -> Matrix:
    """Return the shift that aligns what is near the mask with the same place of the focused photo."""
    from skimage.registration import phase_cross_correlation

    height, width = (min(a, b) for a, b in zip(defocused.shape, focused.shape, strict=True))
    rows, columns = (np.flatnonzero(near[:height, :width].any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return np.eye(3)
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    shift, _, _ = phase_cross_correlation(focused[box], defocused[box], normalization=None)
    return np.array([[1, 0, shift[1]], [0, 1, shift[0]], [0, 0, 1.0]])


def _keypoints(image: FloatArray, where: BoolArray) -> tuple[Matrix, npt.NDArray[np.uint8]]:
    """Return the (x, y) and descriptors of SIFT keypoints."""
    from skimage.feature import SIFT

    detector = SIFT(upsampling=1)
    try:
        detector.detect_and_extract(image)
    except (RuntimeError, ValueError):  # nothing found, or a photo of a few pixels
        return np.empty((0, 2)), np.empty((0, 128), np.uint8)
    places, descriptors = np.asarray(detector.keypoints), np.asarray(detector.descriptors)
    chosen = where[tuple(places.T)]
    return places[chosen, ::-1].astype(np.float64), descriptors[chosen]


def _matched(
    positions: Matrix, descriptors: npt.NDArray[np.uint8], others: Matrix, their_descriptors: npt.NDArray[np.uint8]
) -> tuple[Matrix, Matrix]:
    from skimage.feature import match_descriptors

    pairs = match_descriptors(descriptors, their_descriptors, cross_check=True, max_ratio=0.85)
    return positions[pairs[:, 0]], others[pairs[:, 1]]


def _from_pairs(source: Matrix, target: Matrix) -> list[Matrix]:
    """Return the similarity that most pairs agree on, and the homography of those pairs."""
    from skimage.measure import ransac
    from skimage.transform import ProjectiveTransform, SimilarityTransform

    if len(source) < _FEWEST:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of samples that determine no view
        similarity, agreeing = ransac(
            (source, target), SimilarityTransform, min_samples=2, residual_threshold=_TOLERANCE, max_trials=1000,
            rng=_SEED, is_model_valid=lambda model, *_: _SCALES[0] < model.scale < _SCALES[1],
        )  # fmt: skip
        if similarity is None or agreeing.sum() < _FEWEST:
            return []
        homography = ProjectiveTransform()
        homography.estimate(source[agreeing], target[agreeing])
    views = [similarity.params, homography.params]
    return [view for view in views if np.isfinite(view).all() and np.linalg.det(view[:2, :2]) > 0]
