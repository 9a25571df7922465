"""Paper A's post-processing of an estimated depth map (its figure 3)."""

import numpy as np

from fastrefocus.checks import number
from fastrefocus.depth.depth_map import DepthMap, scale_to_unit

#: Side of the median filter that removes speckle, in pixels.
_MEDIAN_SIZE = 3

#: The percentiles of depth that become 0 and 1.
_SCALED_PERCENTILES = (1.0, 99.0)


def postprocess_depth(depth: DepthMap, *, smoothing: float = 2.0) -> DepthMap:
    """Make a raw depth map fit for `blur_by_depth`: holes filled, speckle gone, smooth, scaled to 0..1.

    Parameters
    ----------
    depth : DepthMap
        Of any kind; NaN where the depth is unknown.
    smoothing : float
        Standard deviation of the Gaussian that smooths the map, in pixels, >= 0; 0 for none.

    Returns
    -------
    DepthMap
        Of kind "relative": 0 nearest, 1 farthest, no NaN.

    Raises
    ------
    TypeError
        If `depth` is not a `DepthMap`, or `smoothing` not a number.
    ValueError
        If `smoothing` is negative or not finite, or no pixel of `depth` is known.

    Notes
    -----
    Paper A shows the map before and after (figure 3) and says that far is 1 and near is 0 (section 5.3), but not
    what was done between. Chosen here, in this order: a hole takes the value of the nearest known pixel; a
    median over 3x3 pixels; a Gaussian; and a linear scale, in the map's own unit (see `DepthMap.relative`). On
    that scale the 1st percentile becomes 0 and the 99th 1, and what lies beyond is clipped: with the plain
    minimum and maximum a handful of pixels governs the scale, and the paper's thresholds of 0.8 and more select
    almost nothing (0.8 % of a measured NYU dining room, against 10 %). Where the two percentiles
    are equal, the minimum and the maximum take their place. Constant depth becomes 0.

    Examples
    --------
    >>> raw = DepthMap([[1.0, 1.0, 1.0], [2.0, float("nan"), 2.0], [3.0, 3.0, 3.0]], "metric")
    >>> postprocess_depth(raw, smoothing=0).values
    array([[0. , 0. , 0. ],
           [0.5, 0.5, 0.5],
           [1. , 1. , 1. ]], dtype=float32)
    """
    if not isinstance(depth, DepthMap):
        raise TypeError(f"depth must be a DepthMap, got {type(depth).__name__}")
    sigma = number(smoothing, "smoothing", least=0)
    from scipy import ndimage

    values = ndimage.median_filter(depth.filled().values, size=_MEDIAN_SIZE, mode="nearest")
    if sigma > 0:
        values = ndimage.gaussian_filter(values, sigma, mode="nearest")
    low, high = np.percentile(values.astype(np.float64), _SCALED_PERCENTILES)
    if low < high:
        values = np.clip(values, np.float32(low), np.float32(high))
    return DepthMap(scale_to_unit(-values if depth.kind == "inverse" else values), "relative")
