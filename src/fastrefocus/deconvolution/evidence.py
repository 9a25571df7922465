"""How plausible a PSF is, from the photo's power spectrum alone.

Without blur the logarithm of the spectrum is a smooth function of that of the frequency, and noise is the same at every
frequency. A PSF leaves its own shape on top: the zeros of a disk, or the ever faster fall of a Gaussian. For each PSF
the smooth spectrum and the noise that explain the photo best are found, and Laplace's approximation gives the
logarithm of the evidence: how probable the photo's spectrum is if this was the PSF.

=========  ==================================================================================
f          frequency, cycles per pixel, of a ring of the Fourier plane; each is cut into sectors of orientation
P, y       power of the photo there, per pixel so that white noise has its variance; y = ln P
n          how many frequencies P is the mean of
K          transfer function of the PSF
T          power of the sharp photo: ln T = a - p ln f + g(ln f), a and p normal, g a Gaussian process (Matern 3/2)
s          standard deviation of the noise; ln s^2 is normal
e          what is left over: y = ln(|K|^2 T + s^2) + e, e normal with variance R = 0.07^2 + 2 / n
z          ln T and ln s^2, whitened: (ln T, ln s^2) = m + L z, z standard normal
J          derivative of ln(|K|^2 T + s^2) by z
=========  ==================================================================================

Arrays of the rings and sectors are (sectors, rings); those of some PSFs have one more axis in front. The evidence of
the sectors is added and divided by sqrt(sectors), for they show the same things and are not independent.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import BoolArray, FloatArray

Float64Array = npt.NDArray[np.float64]

#: Tiles are so wide, and shrink with photos and regions that are narrower.
TILE = 128

#: Narrower photos and regions say nothing.
SMALLEST_TILE = 32

_MOST_TILES = 16  # along each axis, spread evenly over the photo
_SECTORS = 4
_FIRST_RING = 2  # the window mixes those before with the mean
_MASK_MARGIN, _MASK_FEATHER = 6, 3  # pixels: light from across a region's border is left out
_LEAST_OF_TILE = 0.3  # share of a tile's weight that must lie in the region
_FLOOR = 1e-8  # of the photo's variance, added: no photo has less noise, and a logarithm needs some
_LEAST_GAIN = 1e-12  # below this a PSF's own rounding errors count

_RANK = 24  # of ln T; the rest of the process has a variance far below R
_MODEL_VARIANCE = 0.07**2
_LEVEL_SD, _NOISE_SD = 3.0, 3.0  # of a and ln s^2: next to unknown
_SLOPE, _SLOPE_SD = 2.5, 0.5
_PROCESS_SD, _SHORT_PROCESS_SD = 1.2, 0.5


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The power spectrum of a photo, or of a region.

    Attributes
    ----------
    tile : int
        Width of the tiles that it is the mean of, pixels.
    frequency : ndarray
        (rings,): f.
    power, count : ndarray
        (sectors, rings): P and n.
    contrast : float
        Standard deviation within the tiles.
    coloured : bool
        The photo's noise was filtered (sharpened, compressed), and the frequencies where it rules are left out.
    """

    tile: int
    frequency: Float64Array
    power: Float64Array
    count: Float64Array
    contrast: float
    coloured: bool = False

    @property
    def share(self) -> Float64Array:
        """Share of the Fourier plane that each ring of a sector has."""
        return self.count / self.tile**2

    def below(self, frequency: float) -> "Spectrum":
        """Return the part up to a frequency, as one with coloured noise."""
        keep = self.frequency <= frequency
        return Spectrum(
            self.tile, self.frequency[keep], self.power[:, keep], self.count[:, keep], self.contrast, coloured=True
        )


class Fit(NamedTuple):
    """What explains the photo best, for each PSF."""

    gain: Float64Array
    """(psfs, sectors, rings): |K|^2."""
    evidence: Float64Array
    """(psfs,): its logarithm, in nats; only differences mean anything."""
    signal: Float64Array
    """(psfs, sectors, rings): T."""
    noise: Float64Array
    """(psfs, sectors): s^2."""


def spectrum(plane: FloatArray, mask: BoolArray | None = None) -> Spectrum | None:
    """Return the spectrum of an (H, W) plane where `mask` is set, or None where it says nothing.

    It is the mean over Hann-windowed tiles, half overlapping unless that would be too many.
    """
    weight = None
    if mask is not None:
        box = _bounding_box(mask)
        plane, weight = plane[box], _feathered(mask[box])
    tile = min(TILE, *plane.shape) // 2 * 2
    while tile >= SMALLEST_TILE:
        periodogram = _mean_periodogram(plane, weight, tile)
        if periodogram is not None:
            break
        tile = tile // 4 * 2
    else:
        return None
    variance = float(periodogram.mean())
    rounding = float(np.finfo(np.float32).eps) * max(float(plane.max()), -float(plane.min()))
    if variance <= rounding**2:
        return None
    means, count = _ring_means(periodogram[np.newaxis])
    power = means[0] + _FLOOR * variance
    frequency = np.arange(_FIRST_RING, tile // 2 + 1) / tile
    whole = Spectrum(tile, frequency, power, count, contrast=float(np.sqrt(variance)))
    knee = _coloured_floor(whole)
    return whole if knee is None else whole.below(knee)


def transfer(psfs: Sequence[FloatArray], tile: int) -> Float64Array:
    """Return |K|^2, seen through the window of the tiles, (psfs, sectors, rings), of PSFs of any shape and size."""
    from scipy.ndimage import convolve1d

    power = np.abs(np.fft.fft2(np.stack([_folded(psf, tile) for psf in psfs]))) ** 2
    for axis in (1, 2):
        power = convolve1d(power, [1 / 6, 4 / 6, 1 / 6], axis=axis, mode="wrap")  # Hann's own power spectrum
    return np.maximum(_ring_means(power)[0], _LEAST_GAIN)


def fit(observed: Spectrum, gains: Float64Array) -> Fit:
    """Fit T and s to a spectrum for each |K|^2, (psfs, sectors, rings), by damped Gauss-Newton steps."""
    gains = gains[..., : observed.frequency.size]
    model = _Model(observed, np.log(gains))
    z = model.start()
    value = model.objective(z)
    damping = np.full(value.shape, 1e-2)
    unfinished = np.ones(value.shape, bool)
    for _ in range(40):
        precision, descent = model.normal_equations(z)
        diagonal = np.einsum("...ii->...i", precision)
        diagonal *= 1 + damping[..., np.newaxis]
        trial = z + np.linalg.solve(precision, descent[..., np.newaxis])[..., 0]
        new = model.objective(trial)
        better = new < value
        unfinished &= ~(better & (value - new < 1e-2))
        z[better] = trial[better]
        value = np.minimum(value, new)
        damping *= np.where(better, 0.2, 8)
        if not (unfinished & (damping < 1e6)).any():
            break
    evidence = -value - np.linalg.slogdet(model.normal_equations(z)[0])[1] / 2
    log_signal, log_noise = model.unwhitened(z)
    return Fit(gains, evidence.sum(axis=-1) / np.sqrt(_SECTORS), np.exp(log_signal), np.exp(log_noise[..., 0]))


class _Model:
    """The negative logarithm of the joint density of y and z, but for constants, and its derivatives."""

    def __init__(self, observed: Spectrum, log_gain: Float64Array) -> None:
        self._y = np.log(observed.power)
        self._log_gain = log_gain
        self._deviation = np.sqrt(_MODEL_VARIANCE + 2 / observed.count)
        x = np.log(observed.frequency / observed.frequency[0])
        distance = np.sqrt(3) * np.abs(x[:, np.newaxis] - x)
        process = (_SHORT_PROCESS_SD if observed.coloured else _PROCESS_SD) ** 2 * (1 + distance) * np.exp(-distance)
        values, vectors = np.linalg.eigh(_LEVEL_SD**2 + _SLOPE_SD**2 * np.outer(x, x) + process)
        self._basis = vectors[:, -_RANK:] * np.sqrt(values[-_RANK:])
        self._signal_mean = self._y[:, :3].mean(axis=1, keepdims=True) - _SLOPE * x
        self._noise_mean = np.sort(self._y, axis=1)[:, :6].mean(axis=1, keepdims=True)

    def start(self) -> Float64Array:
        z = np.zeros((*self._log_gain.shape[:-1], self._basis.shape[1] + 1))
        z[..., -1] = -0.1
        return z

    def unwhitened(self, z: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return ln T, (psfs, sectors, rings), and ln s^2, (psfs, sectors, 1)."""
        return self._signal_mean + z[..., :-1] @ self._basis.T, self._noise_mean + _NOISE_SD * z[..., -1:]

    def objective(self, z: Float64Array) -> Float64Array:
        log_signal, log_noise = self.unwhitened(z)
        error = (self._y - np.logaddexp(log_signal + self._log_gain, log_noise)) / self._deviation
        value: Float64Array = (np.square(error).sum(axis=-1) + np.square(z).sum(axis=-1)) / 2
        return value

    def normal_equations(self, z: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return I + J' R^-1 J, and minus the gradient."""
        log_signal, log_noise = self.unwhitened(z)
        blurred = log_signal + self._log_gain
        log_power = np.logaddexp(blurred, log_noise)
        share = np.exp(blurred - log_power)[..., np.newaxis]
        deviation = self._deviation[..., np.newaxis]
        jacobian = np.concatenate([share * self._basis, (1 - share) * _NOISE_SD], axis=-1) / deviation
        transposed = np.swapaxes(jacobian, -1, -2)
        error = ((self._y - log_power) / self._deviation)[..., np.newaxis]
        return transposed @ jacobian + np.eye(z.shape[-1]), (transposed @ error)[..., 0] - z


def _bounding_box(mask: BoolArray) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return slice(0), slice(0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _feathered(mask: BoolArray) -> FloatArray:
    from scipy.ndimage import binary_erosion, gaussian_filter

    inner = binary_erosion(mask, iterations=_MASK_MARGIN)
    weight: FloatArray = gaussian_filter(inner.astype(np.float32), _MASK_FEATHER)
    return weight


def _mean_periodogram(plane: FloatArray, weight: FloatArray | None, tile: int) -> Float64Array | None:
    """Return the mean of the tiles' periodograms, (tile, tile), or None where no tile has enough weight."""
    from scipy.fft import fft2

    profile = np.sin(np.pi * np.arange(1, tile + 1) / (tile + 1)) ** 2
    hann = np.outer(profile, profile)
    least = _LEAST_OF_TILE * np.square(hann).sum()
    total, energy = np.zeros((tile, tile)), 0.0
    for part in _tiles(plane.shape, tile):
        window = hann if weight is None else hann * weight[part]
        own = np.square(window).sum()
        if own >= least:
            values = plane[part].astype(np.float64)
            values -= np.vdot(values, window) / window.sum()
            total += np.abs(fft2(values * window)) ** 2
            energy += own
    return total / energy if energy else None


def _tiles(shape: tuple[int, ...], tile: int) -> Iterator[tuple[slice, slice]]:
    def starts(length: int) -> list[int]:
        count = min(-(-(length - tile) // (tile // 2)) + 1, _MOST_TILES)
        return [int(start) for start in np.linspace(0, length - tile, count)]

    for top in starts(shape[0]):
        for left in starts(shape[1]):
            yield slice(top, top + tile), slice(left, left + tile)


def _ring_means(power: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return means over the rings' sectors, (planes, sectors, rings), of (planes, tile, tile), and their counts."""
    tile = power.shape[-1]
    frequency = np.fft.fftfreq(tile)
    ring = np.round(np.hypot(frequency[:, np.newaxis], frequency) * tile).astype(int) - _FIRST_RING
    angle = np.arctan2(frequency[:, np.newaxis], frequency) / np.pi * _SECTORS
    sector = np.round(angle).astype(int) % _SECTORS
    rings = tile // 2 - _FIRST_RING + 1
    inside = (ring >= 0) & (ring < rings)
    index = (sector * rings + ring)[inside]
    count = np.bincount(index).astype(np.float64)
    means = np.stack([np.bincount(index, plane[inside]) / count for plane in power])
    return means.reshape(len(power), _SECTORS, rings), count.reshape(_SECTORS, rings)


def _folded(psf: FloatArray, tile: int) -> Float64Array:
    """Wrap a PSF around a periodic tile, whose transform is then that of the whole PSF, sampled."""
    height, width = (-(-n // tile) * tile for n in psf.shape)
    padded = np.zeros((height, width))
    padded[: psf.shape[0], : psf.shape[1]] = psf
    folded: Float64Array = padded.reshape(height // tile, tile, width // tile, tile).sum(axis=(0, 2))
    return folded


def _coloured_floor(observed: Spectrum) -> float | None:
    """Return the frequency from which noise that falls with the frequency rules, or None where none is seen.

    Sharpening and compression leave such noise. A steep fall, where the blur ends the photo's own spectrum, then goes
    over into a straight line of ln P over ln f, where white noise would be level and sharp detail would have no knee.
    """
    x = np.log(observed.frequency)
    y = np.log(np.average(observed.power, axis=0, weights=observed.count))
    tail = (observed.frequency > 0.25) & (observed.frequency < 0.48)
    slope, level = np.polyfit(x[tail], y[tail], 1)
    local = np.zeros(x.size)
    for i in np.flatnonzero((observed.frequency > 0.05) & (observed.frequency < 0.3)):
        near = np.abs(x - x[i]) < 0.3 * np.log(2)
        if near.sum() > 2:
            local[i] = np.polyfit(x[near], y[near], 1)[0]
    steepest = int(local.argmin())
    past = np.arange(x.size) > steepest
    on_line = past & (y < slope * x + level + 0.7)
    if not (-4.5 < slope < -1.6 and local[steepest] < -7.5 and on_line.any()):
        return None
    knee = float(observed.frequency[on_line.argmax()])
    rise = (y - np.minimum.accumulate(y))[past].max()
    return knee if knee < 0.2 and rise < 0.8 else None
