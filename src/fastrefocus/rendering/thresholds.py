"""Blur by depth with several PSFs, paper A's section 3.3 (far side) and section 4.4 (near side)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import FloatArray, as_image, as_plane
from fastrefocus.optics.psf import GAUSSIAN_TRUNCATE

_LARGEST_SIGMA = 512.0  # pixels; more is a mistake in the units


@runtime_checkable
class DepthLike(Protocol):
    """What is needed of a `fastrefocus.DepthMap`."""

    @property
    def values(self) -> FloatArray: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class ThresholdBlur:
    """Standard deviations in pixels, from light to deep, and the depth beyond which each applies."""

    sigmas: tuple[float, ...]
    thresholds: tuple[float, ...]


#: The setting of paper A's figure 5, for relative depth 0 (nearest) to 1 (farthest) and 513 x 513 pixels.
PAPER_A_FIGURE_5 = ThresholdBlur(sigmas=(2, 3, 5, 8), thresholds=(0.8, 0.83, 0.86, 0.97))


def blur_by_depth(
    image: npt.ArrayLike,
    depth: npt.ArrayLike | DepthLike,
    *,
    sigmas: Sequence[float],
    thresholds: Sequence[float],
    side: str = "far",
) -> FloatArray:
    """Blur an image the more the deeper its pixels lie, exactly as paper A does it.

    One blurred copy of the whole image is made for each sigma, and each pixel is taken from the last copy whose
    threshold its depth has passed. Light therefore leaks across depth edges, and a seam shows at each threshold: this
    is the published method, kept for comparison.

    Parameters
    ----------
    image : array_like
        (H, W) or (H, W, 3), blurred as encoded, without conversion to linear light.
    depth : array_like or DepthMap
        (H, W), growing with distance, in any unit; a DepthMap of kind "relative" or "metric". NaN (unknown) keeps the
        image's pixel.
    sigmas : sequence of float
        Standard deviations of the Gaussians, pixels, > 0, from light to deep. They are cut at 4 sigma, and the image is
        mirrored at its borders (without repeating the border pixel).
    thresholds : sequence of float
        As many as sigmas. ``side="far"``: sigma i applies where depth > thresholds[i], strictly increasing.
        ``side="near"``: where depth < thresholds[i], strictly decreasing.
    side : {"far", "near"}
        The side of the focal plane to blur.

    Returns
    -------
    ndarray
        float32, the image's shape.

    Raises
    ------
    TypeError, ValueError
        If the image or depth is not valid, their sizes differ, or sigmas and thresholds do not fit together.

    See Also
    --------
    fastrefocus.rendering.thresholds.PAPER_A_FIGURE_5 : The setting of the paper's figure 5.

    References
    ----------
    Paper A, sections 3.3 and 4.4. The paper states no kernel size; 4 sigma loses 0.01 % of the Gaussian.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.zeros((9, 12), np.float32)
    >>> image[4, [2, 9]] = 1
    >>> depth = np.repeat([[0.0, 0.5, 1.0]], 9, axis=0).repeat(4, axis=1)
    >>> blurred = blur_by_depth(image, depth, sigmas=[1], thresholds=[0.8])
    >>> print(blurred[4, [2, 9]].round(3))
    [1.    0.159]
    """
    pixels = as_image(image)
    distance = _distance(depth, pixels)
    checks.choice(side, "side", ("far", "near"))
    levels = _check_levels(sigmas, thresholds, side)
    result = pixels.copy()
    for sigma, threshold in zip(levels.sigmas, levels.thresholds, strict=True):
        beyond = distance > threshold if side == "far" else distance < threshold
        if beyond.any():
            result[beyond] = _gaussian_blur(pixels, sigma)[beyond]
    return result


def _distance(depth: npt.ArrayLike | DepthLike, pixels: FloatArray) -> FloatArray:
    if isinstance(depth, DepthLike):
        if depth.kind == "inverse":
            raise ValueError('depth of kind "inverse" shrinks with distance; pass depth.relative()')
        depth = depth.values
    return as_plane(depth, "depth", shape=pixels.shape, nan_ok=True)


def _gaussian_blur(pixels: FloatArray, sigma: float) -> FloatArray:
    from scipy.ndimage import gaussian_filter

    blurred: FloatArray = gaussian_filter(pixels, sigma, mode="mirror", truncate=GAUSSIAN_TRUNCATE, axes=(0, 1))
    return blurred


def _check_levels(sigmas: Sequence[float], thresholds: Sequence[float], side: str) -> ThresholdBlur:
    blur = checks.numbers(sigmas, "sigmas", above=0, below=_LARGEST_SIGMA)
    limits = checks.numbers(thresholds, "thresholds")
    if len(blur) != len(limits):
        raise ValueError(f"sigmas and thresholds must have the same length, got {len(blur)} and {len(limits)}")
    if (np.diff(blur) < 0).any():
        raise ValueError(f"sigmas must go from light to deep (not decreasing), got {blur}")
    steps = np.diff(limits) if side == "far" else -np.diff(limits)
    if (steps <= 0).any():
        order = "increasing" if side == "far" else "decreasing"
        raise ValueError(f'thresholds must be strictly {order} for side="{side}", got {limits}')
    return ThresholdBlur(blur, limits)
