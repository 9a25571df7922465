"""Depth for photos with shallow depth of field: how blurred a place is says how far it is from the plane of focus."""

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray, as_image
from fastrefocus.depth.blur_estimate import BlurEstimate
from fastrefocus.depth.depth_map import DepthMap, scale_to_unit
from fastrefocus.depth.outlines import outline_blur
from fastrefocus.light import luminance

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
_WEIGHT = 4.0

#: What speaks for the far side beside the correlation of blur and prior: most photos focus on a near subject.
_LEANING = 0.07

#: The blur of outlines between what it is where the blurred parts are far, 0.2 on average, and where they are near,
#: 0.6; how much it counts beside that correlation, and at the most, for texture without outlines has some, too.
_MIDDLE, _OUTLINES, _MOST = 0.4, 2.7, 0.5

#: Pixels that the correlation is taken of, about, and the variance below which blur or prior are as good as constant.
_SAMPLES, _LEAST_VARIANCE = 65_536, 1e-3


def depth_from_blur(blur: BlurEstimate, prior: DepthMap, image: npt.ArrayLike | None = None) -> DepthMap:
    """Join what the blur of a photo says of its depth with what is expected of it.

    Parameters
    ----------
    blur : BlurEstimate
        Of `estimate_blur`.
    prior : DepthMap
        (H, W), of any kind, of the same photo, such as that of `estimate_depth`; NaN where unknown.
    image : array_like, optional
        The photo, (H, W) or (H, W, 3) RGB; uint8, uint16 or float 0..1, encoded as photos are. Its outlines help to
        tell what is near.

    Returns
    -------
    DepthMap
        (H, W), "relative": 0 nearest, 1 farthest; NaN where `prior` is.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If they differ in size, `image` is no photo, or no pixel of `prior` is known.

    Notes
    -----
    A surface is blurred by its distance from the plane of focus in 1 / z, on either side. Which side the blurred parts
    are on is one decision for the whole photo: what agrees better with the prior, and with the outlines between sharp
    and blurred parts of `image`, which are as blurred as the nearer of the two (Mather, "Image blur as a pictorial
    depth cue", 1996); without either the far one. Where that is wrong, or blurred parts are on both sides, the result
    is the wrong way round there. Of a photo that is sharp everywhere, or nearly so, the result is the prior: what seems
    blurred in it has no texture. So it is of a blank one.

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
    photo = None if image is None else as_image(image)
    if photo is not None and photo.shape[:2] != expected.shape:
        raise ValueError(f"image must have the height and width {expected.shape} of blur, got {photo.shape[:2]}")
    blurred = np.clip(np.log2(np.maximum(blur.radius / np.float32(_SHARP), 1)) / np.float32(_OCTAVES), 0, 1)
    certainty = float(blur.confidence.mean(dtype=np.float64))
    amount = float(np.mean(blurred * blur.confidence, dtype=np.float64) / max(certainty, 1e-12))
    weight = _WEIGHT * _rise(amount, _DEEP, _SHALLOW) * _rise(certainty, _BLANK, _TEXTURED)
    outlines = None if photo is None else outline_blur(luminance(photo), blur.radius, blur.confidence)
    side = np.float32(weight * _side(blurred, blur.confidence, expected, outlines))
    certain = blurred * np.square(blur.confidence)  # squared: blank parts are not to stand out
    return DepthMap(scale_to_unit(expected + side * certain), "relative")


def _rise(value: float, low: float, high: float) -> float:
    """Return 0 below `low`, 1 above `high`, and what is linear between them."""
    return float(np.clip((value - low) / (high - low), 0, 1))


def _side(blurred: FloatArray, confidence: FloatArray, expected: FloatArray, outlines: float | None) -> float:
    """Return -1 where what is blurred is near, 1 where it is far; between them there would be no depth at all.

    From the weighted correlation of blur and expected depth, and from the blur of outlines.
    """
    known = np.flatnonzero(~np.isnan(expected.ravel()))
    known = known[:: -(-known.size // _SAMPLES)]
    x, y, weight = (plane.ravel()[known].astype(np.float64) for plane in (blurred, expected, confidence))
    weight = weight / max(weight.sum(), 1e-12)
    x, y = x - weight @ x, y - weight @ y
    spread = np.sqrt((weight @ x**2 + _LEAST_VARIANCE) * (weight @ y**2 + _LEAST_VARIANCE))
    agreement = weight @ (x * y) / spread
    seen = 0.0 if outlines is None else np.clip(_OUTLINES * (_MIDDLE - outlines), -_MOST, _MOST)
    return 1.0 if agreement + seen + _LEANING > 0 else -1.0
