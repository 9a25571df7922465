"""Find the PSF from a sharp and a blurred photo of the same thing (paper B, section 3)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import FloatArray, as_image
from fastrefocus.light import decode
from fastrefocus.optics.psf import disk_psf


@dataclass(frozen=True, eq=False)
class DiskFit:
    """The disk that best maps a focused photo to a defocused one.

    Attributes
    ----------
    psf : ndarray
        float32, `disk_psf` of the diameter.
    diameter : int
        Pixels.
    residuals : ndarray
        float64 (max_diameter,): root mean square difference for the diameters 1, 2, ...
    """

    psf: FloatArray
    diameter: int
    residuals: npt.NDArray[np.float64]


def fit_disk_psf(
    focused: npt.ArrayLike, defocused: npt.ArrayLike, *, max_diameter: int = 31, linearize: bool = True
) -> DiskFit:
    """Find the integer diameter of the disk that best maps a focused photo to a defocused one.

    Each disk is convolved with the focused photo, and the root mean square difference to the defocused one is
    taken over the pixels that no disk of up to `max_diameter` reaches from outside.

    Parameters
    ----------
    focused, defocused : array_like
        (H, W) or (H, W, 3), as `fastrefocus.read_photo` gives them; the same view, exposure and shape.
    max_diameter : int
        The largest diameter tried, pixels; smaller than the height and the width.
    linearize : bool
        Compare in linear light (the values are sRGB-encoded); False: the values as they are.

    Returns
    -------
    DiskFit
        The PSF, its diameter, and the residual of every diameter tried.

    Raises
    ------
    TypeError, ValueError
        If the images are not valid or differ in shape, or `max_diameter` is out of its range.

    References
    ----------
    Paper B, section 3: the PSF is "constrained to be a disk with integer pixel diameter".

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import convolve
    >>> focused = np.zeros((40, 50), np.float32)
    >>> focused[18:22, 23:27] = 1
    >>> blurred = convolve(focused, disk_psf(7))
    >>> fit_disk_psf(focused, blurred, max_diameter=15, linearize=False).diameter
    7
    """
    sharp = as_image(focused, "focused")
    blurred = as_image(defocused, "defocused", shape=sharp.shape)
    if checks.integer(max_diameter, "max_diameter", least=1) >= min(sharp.shape[:2]):
        raise ValueError(f"max_diameter must be smaller than the image {sharp.shape[:2]}, got {max_diameter}")
    if linearize:
        sharp, blurred = decode(sharp), decode(blurred)
    margin = max_diameter // 2
    residuals = np.array([_residual(sharp, blurred, d, margin) for d in range(1, max_diameter + 1)])
    diameter = int(residuals.argmin()) + 1
    return DiskFit(disk_psf(diameter), diameter, residuals)


def _residual(sharp: FloatArray, blurred: FloatArray, diameter: int, margin: int) -> float:
    from scipy.signal import fftconvolve

    height, width = sharp.shape[:2]
    psf = disk_psf(diameter).reshape((-1, diameter + 1 - diameter % 2) + (1,) * (sharp.ndim - 2))
    inner = np.s_[margin : height - margin, margin : width - margin]
    difference = fftconvolve(sharp, psf, mode="same", axes=(0, 1))[inner] - blurred[inner]
    return float(np.sqrt(np.mean(np.square(difference), dtype=np.float64)))
