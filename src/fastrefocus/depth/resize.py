"""Depth maps of another size than their photo."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.depth.depth_map import DepthMap

#: Height over width of map and photo may differ by this part: phones cut their depth maps to whole blocks.
_PROPORTIONS_TOLERANCE = 0.02


def resize_depth(depth: DepthMap, shape: Sequence[int] | npt.NDArray[np.integer]) -> DepthMap:
    """Resize a depth map to the size of its photo.

    Interpolation is bilinear, in 1 / z for metric depth, because blur is linear in it. Outlines become ramps, which
    `refine_depth` makes steep again.

    Parameters
    ----------
    depth : DepthMap
        (h, w), of any kind; NaN where unknown.
    shape : sequence of int, or array of them
        (H, W), or a photo's (H, W, 3). Its proportions are those of the map to 2 %, or to a pixel of the map.

    Returns
    -------
    DepthMap
        (H, W), of the same kind; unknown where the nearest pixel of `depth` is. `depth` itself where it has that size.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above: another photo's depth, or a turned one, must not be stretched unnoticed.

    Examples
    --------
    >>> resize_depth(DepthMap([[1.0, 3.0]], "inverse"), (2, 4)).values
    array([[1. , 1.5, 2.5, 3. ],
           [1. , 1.5, 2.5, 3. ]], dtype=float32)
    """
    if not isinstance(depth, DepthMap):
        raise TypeError(f"depth must be a DepthMap, got {type(depth).__name__}")
    sides = shape.tolist() if isinstance(shape, np.ndarray) else shape
    if not isinstance(sides, Sequence) or len(sides) not in (2, 3):
        raise ValueError(f"shape must be (H, W) or (H, W, 3), got {shape!r}")
    height, width = (checks.integer(side, "shape", least=1) for side in sides[:2])
    if depth.values.shape == (height, width):
        return depth
    check_proportions(depth.values.shape, (height, width))
    from skimage.transform import resize

    unknown = np.isnan(depth.values)
    if unknown.all():
        return DepthMap(np.full((height, width), np.nan, np.float32), depth.kind)
    values = depth.filled().values
    metric = depth.kind == "metric"
    resized = resize(1 / values if metric else values, (height, width), order=1, mode="edge", anti_aliasing=False)
    resized = 1 / resized if metric else resized
    return DepthMap(np.where(resize(unknown, (height, width), order=0, mode="edge"), np.nan, resized), depth.kind)


def check_proportions(of_map: tuple[int, ...], of_photo: tuple[int, ...]) -> None:
    """Raise ValueError unless a map's (h, w) are a photo's (H, W) in small, to 2 % or a pixel of the map."""
    (h, w), (height, width) = of_map, of_photo
    difference = abs(h * width - w * height)
    excess = min(difference / height - 1, difference / width - 1, difference / (width * h) - _PROPORTIONS_TOLERANCE)
    if excess > 0:
        raise ValueError(f"the depth's height and width {(h, w)} do not have the photo's proportions {(height, width)}")
