"""Depth for photos with shallow depth of field: how blurred a place is says how far it is from the plane of focus."""

import numpy as np

from fastrefocus.arrays import FloatArray
from fastrefocus.depth.blur_estimate import BlurEstimate
from fastrefocus.depth.depth_map import DepthMap, scale_to_unit

#: Pixels: of smaller radii the photo says little.
_SHARP = 1.0

#: Octaves of radius above that which count as the whole range of depth.
_OCTAVES = 3.0

#: Mean amount of blur, of 1, below which a photo counts as sharp everywhere, and above which as one with shallow depth
#: of field. Photos of the first kind were found below 0.1, of the second above 0.2.
_DEEP, _SHALLOW = 0.1, 0.3

#: Mean confidence below which a photo says nothing of its blur, such as a blank one, and above which all that it can.
_BLANK, _TEXTURED = 0.4, 0.5

#: Of the blur beside the prior, where it is certain.
_WEIGHT = 2.0

#: What the side of the blur is beside `_AGREEMENT` times its correlation with the prior: most photos focus on a near
#: subject, with the background blurred.
_AGREEMENT, _LEANING = 3.0, 0.5

#: Pixels that the correlation is taken of, about, and the variance below which blur or prior are as good as constant.
_SAMPLES, _LEAST_VARIANCE = 65_536, 1e-3


def depth_from_blur(blur: BlurEstimate, prior: DepthMap) -> DepthMap:
    """Join what the blur of a photo says of its depth with what is expected of it.

    Parameters
    ----------
    blur : BlurEstimate
        Of `estimate_blur`.
    prior : DepthMap
        (H, W), of any kind, of the same photo, such as that of `estimate_depth`; NaN where unknown.

    Returns
    -------
    DepthMap
        (H, W), "relative": 0 nearest, 1 farthest; NaN where `prior` is.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the two differ in size, or no pixel of `prior` is known.

    Notes
    -----
    A surface is blurred by its distance from the plane of focus in 1 / z, on either side. Which side the blurred parts
    are on is one decision for the whole photo: that which agrees better with the prior, and without agreement the far
    one. Where that is wrong, or blurred parts are on both sides, the result is the wrong way round there. Of a photo
    that is sharp everywhere, or nearly so, the result is the prior: what seems blurred in it has no texture. So it is
    of a blank one.

    Examples
    --------
    >>> radius = np.array([[0.5, 8.0]], np.float32)
    >>> blur = BlurEstimate(radius, np.ones_like(radius))
    >>> depth_from_blur(blur, DepthMap([[0.5, 0.5]], "relative")).values
    array([[0., 1.]], dtype=float32)
    """
    if not isinstance(blur, BlurEstimate):
        raise TypeError(f"blur must be a BlurEstimate, got {type(blur).__name__}")
    if not isinstance(prior, DepthMap):
        raise TypeError(f"prior must be a DepthMap, got {type(prior).__name__}")
    expected = prior.relative().values
    if blur.radius.shape != expected.shape:
        raise ValueError(f"prior must have the height and width {blur.radius.shape} of blur, got {expected.shape}")
    blurred = np.clip(np.log2(np.maximum(blur.radius / np.float32(_SHARP), 1)) / np.float32(_OCTAVES), 0, 1)
    certainty = float(blur.confidence.mean(dtype=np.float64))
    amount = float(np.mean(blurred * blur.confidence, dtype=np.float64) / max(certainty, 1e-12))
    weight = _WEIGHT * _rise(amount, _DEEP, _SHALLOW) * _rise(certainty, _BLANK, _TEXTURED)
    side = np.float32(weight * _side(blurred, blur.confidence, expected))
    certain = blurred * np.square(blur.confidence)  # squared: blank parts are not to stand out
    return DepthMap(scale_to_unit(expected + side * certain), "relative")


def _rise(value: float, low: float, high: float) -> float:
    """Return 0 below `low`, 1 above `high`, and what is linear between them."""
    return float(np.clip((value - low) / (high - low), 0, 1))


def _side(blurred: FloatArray, confidence: FloatArray, expected: FloatArray) -> float:
    """Return -1 (what is blurred is near) .. 1 (far), from the weighted correlation of blur and expected depth."""
    known = np.flatnonzero(~np.isnan(expected.ravel()))
    known = known[:: -(-known.size // _SAMPLES)]
    x, y, weight = (plane.ravel()[known].astype(np.float64) for plane in (blurred, expected, confidence))
    weight = weight / max(weight.sum(), 1e-12)
    x, y = x - weight @ x, y - weight @ y
    spread = np.sqrt((weight @ x**2 + _LEAST_VARIANCE) * (weight @ y**2 + _LEAST_VARIANCE))
    return float(np.clip(_AGREEMENT * (weight @ (x * y)) / spread + _LEANING, -1, 1))
