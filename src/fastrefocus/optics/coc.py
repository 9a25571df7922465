"""How blurred each pixel is to be, from depth and the focus wanted."""

import numpy as np

from fastrefocus.arrays import FloatArray


def coc_from_disparity(disparity: FloatArray, focus: float, max_radius: float) -> FloatArray:
    """Return the signed radius of the circle of confusion for a disparity in focus.

    For a thin lens the radius is linear in 1/z, and so in disparity: r = gain (focus - disparity). The gain, which is
    unknown where the unit of the disparity is, is set by the largest radius wanted.

    Parameters
    ----------
    disparity : ndarray
        float32 (H, W), growing linearly with 1/z, in any unit, without NaN.
    focus : float
        The disparity in focus.
    max_radius : float
        The largest absolute radius in the picture, pixels.

    Returns
    -------
    ndarray
        float32 (H, W), pixels; > 0 behind the focal plane. All 0 where every disparity equals the focus.
    """
    distance = np.float32(focus) - disparity
    farthest = float(np.abs(distance).max())
    return distance * np.float32(max_radius / farthest) if farthest > 0 else np.zeros_like(distance)
