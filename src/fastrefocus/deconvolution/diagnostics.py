"""What a deconvolution cannot bring back, and whether its blur explains the photo."""

import numpy as np

from fastrefocus.arrays import FloatArray, split_channels
from fastrefocus.errors import ResidualWarning, warn

_FREQUENCIES = 64  # along each axis, at least

#: The end of the warning, for callers in Python.
SEE_RESIDUAL = "; see result.reblur_residual"

#: Correlation of the residual with its four neighbours' mean from which on it is not white.
_WHITE = 0.3

#: A root mean square residual that cannot be seen, nor held by 8 bits.
_INVISIBLE = 1e-3


def destroyed_share(psf: FloatArray, signal_to_noise: float) -> float:
    r"""Return the share of the spatial frequencies that a PSF has put below the noise.

    The photo is taken to have a power spectrum proportional to 1 / f^2, as natural scenes have.

    Parameters
    ----------
    psf : ndarray
        float32 (h, w).
    signal_to_noise : float
        Variance of the photo over that of the noise.

    Returns
    -------
    float
        The share of the frequencies up to Nyquist at which \|C\|^2 times the photo's power is less than the noise's.
    """
    shape = [max(_FREQUENCIES, 2 * n) for n in psf.shape]
    transfer = np.abs(np.fft.fft2(psf, s=shape)) ** 2
    squared = np.square(np.fft.fftfreq(shape[0]))[:, np.newaxis] + np.square(np.fft.fftfreq(shape[1]))
    inside = (squared > 0) & (squared <= 0.25)
    power = 1 / squared[inside]
    power *= signal_to_noise / power.mean()
    return float(np.mean(transfer[inside] * power < 1))


def correlation(residual: FloatArray) -> float:
    """Return the correlation of a residual (H, W) or (H, W, 3) with its right and lower neighbours; 0 if white."""
    products, squares = 0.0, 0.0
    for plane in split_channels(residual):
        r = plane - plane.mean(dtype=np.float64)
        products += float((r[1:] * r[:-1]).sum() + (r[:, 1:] * r[:, :-1]).sum()) / (2 * r.size)
        squares += float(np.square(r).mean())
    return products / squares if squares > 0 else 0.0


def warn_if_not_white(residual: FloatArray, noise: float) -> None:
    """Warn where a residual is more than noise and not white."""
    found, size = correlation(residual), float(np.std(residual))
    if size > max(2 * noise, _INVISIBLE) and abs(found) > _WHITE:
        warn(
            f"the blur found does not explain the photo, or the prior is too strong: blurred again, the restored photo "
            f"differs from it by {size:.2g} (noise {noise:.2g}), and not at random (correlation of neighbours "
            f"{found:.2f}){SEE_RESIDUAL}",
            ResidualWarning,
        )
