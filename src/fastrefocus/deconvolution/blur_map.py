"""Estimate from one photo how far each of its parts is out of focus: the radius of the disk that blurred it.

Two things are asked, on a grid of points, and their answers pooled over neighbouring points.

Spectra. Sharp photos have a power spectrum near 1 / f^2, and its logarithm strays from that as a Gaussian with a known
mean and covariance, fitted on sharp photos. A disk leaves its rings of zeros on top. So every candidate radius has a
likelihood, given the spectrum in a window.

Edges. A disk of radius r makes a step of height A a slope of at most 2 A / (pi r). The largest range nearby stands for
the height, so that an edge can only seem softer than it is.

From the odds for every radius follows that of the least expected error of the deconvolution, which is far more hurt by
a radius too large than by one too small. All this is done for the half-size photo too, and large radii are taken from
there, for a window has to be several times as wide as the blur.

=======  ====================================================================================
I        power of the gradient in a window, mean over each ring of the Fourier plane
n        what noise alone would make of it
T_r      what a picture of spectrum 1 / f^2, blurred by a disk of radius r, would make of it
=======  ====================================================================================
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray
from fastrefocus.parallel import Map

Float64Array = npt.NDArray[np.float64]

#: Photos no larger than this along one axis say nothing.
WINDOW = 64

_STRIDE = 16  # from one grid point to the next, pixels; each stands for a cell of that size
_LONGEST_SIDE = 2048  # of what is looked at, pixels: sharp photos that are larger have no detail in single pixels
_ROUNDING = 1e-6  # of a photo's largest value: contrast that is no more than rounding

#: Candidates, pixels. A window tells no larger ones.
_RADII = np.concatenate([[0.0], np.arange(0.75, 8, 0.25), np.arange(8, 10.5, 0.5)])
_TOLD_BY_HALF_SIZE = 6.0  # pixels: from here on the half-size photo is the better witness

# Fitted on sharp photos.
_SPREAD = (0.9, 1.0, 1.1)  # no real blur is one exact disk: its zeros are filled, by other radii
_FLOOR = 0.003  # and by stray light
_SLOPE, _ROLL_OFF = -0.56, -0.28  # mean of the log spectrum about that of 1 / f^2
_SLOPE_SD, _ROLL_OFF_SD, _LEVEL_SD = 0.5, 0.44, 3.0  # the level is next to unknown
_RIPPLE_SD, _RIPPLE_LENGTH, _RING_SD = 0.49, 0.33, 0.26  # of what else there is: correlated over ln f, and not

_POOLING = 1.2  # standard deviation of the Gaussian that evidence is pooled with, cells
_POOLED_WINDOWS = 4.0  # independent windows within its reach
_EDGE_SD = 0.3  # of the logarithm of an edge's radius,
_EDGE_BIAS = 1.1  # which reads low, for the sharpest edges of a place count most
_MOST_EDGES = 3.0  # of those nearby count: their errors are alike
_EDGE_REACH = 11  # pixels on either side of an edge, where its height is taken
_EDGE_RIVALS = 32  # pixels on either side, where no edge may be four times as steep
_SOFT = 0.7  # pixels: sharp edges are as soft as this

_CAUTION = 0.95  # of the radius is used: too large costs more than too small

#: Pixels: smaller radii are not worth the risk.
LEAST_RADIUS = 1.75


class BlurMapEstimate(NamedTuple):
    """What was found in a photo."""

    radius: FloatArray
    """float32 (H, W), pixels; 0 where the photo is sharp or says nothing."""
    noise: float
    """Standard deviation of the noise, in the photo's units."""


class _Model(NamedTuple):
    """What does not depend on the photo."""

    window: FloatArray  # (WINDOW, WINDOW), of unit energy
    rings: FloatArray  # (WINDOW^2, rings): takes the means over the rings
    frequency: Float64Array  # (rings,), cycles per pixel
    log_template: Float64Array  # (rings, radii): mean of log I if there is no noise
    noise: Float64Array  # (rings,): I of white noise of variance 1
    covariance: Float64Array  # (rings, rings): of log I if there is no noise
    error: Float64Array  # (radii, radii): of the true radius, deconvolved with the other


def estimate_blur_map(
    luminance: FloatArray, *, progress: Callable[[float], None] | None = None, run: Map | None = None
) -> BlurMapEstimate:
    """Estimate the radius of the blur at every pixel of a photo, and its noise.

    Parameters
    ----------
    luminance : ndarray
        float32 (H, W), linear light, finite.
    progress : callable, optional
        Is told the share that is done.
    run : Map, optional
        Does the work in bands; the result does not depend on it.
    """
    level, scale = luminance, 1
    while max(level.shape) > _LONGEST_SIDE and _has_half(level):
        level, scale = _half(level), 2 * scale
    contrast = float(level.std(dtype=np.float64))
    if min(level.shape) <= WINDOW or contrast <= _ROUNDING * float(np.abs(level).max()):
        return BlurMapEstimate(np.zeros_like(luminance), 0.0)
    level = (level - level.mean(dtype=np.float64)).astype(np.float32) / np.float32(contrast)
    run = run or (lambda function, items: [function(item) for item in items])
    tell = progress or (lambda share: None)
    radius, noise = _estimate(level, run)
    tell(0.7)
    if _has_half(level):
        coarse = 2 * _resample(_estimate(_half(level), run)[0], radius.shape, 0.5)
        radius = np.where(coarse >= _TOLD_BY_HALF_SIZE, coarse, radius)
    radius[radius < LEAST_RADIUS] = 0
    radius = np.float32(scale * _CAUTION) * _resample(radius, luminance.shape, 1 / (scale * _STRIDE))
    radius[radius < scale * LEAST_RADIUS] = 0
    tell(1.0)
    return BlurMapEstimate(radius, scale * contrast * noise)


def _estimate(level: FloatArray, run: Map) -> tuple[FloatArray, float]:
    """Return the radius at each grid point, and the standard deviation of the noise."""
    from scipy.ndimage import gaussian_filter

    rows = -(-level.shape[0] // _STRIDE)
    bands = [range(top, min(top + 4, rows)) for top in range(0, rows, 4)]
    power = np.concatenate(run(lambda band: _power(level, band), bands))
    model = _model()
    variance = float(np.percentile(power[..., -1], 5) / model.noise[-1])
    likelihood = np.concatenate(run(lambda band: _log_likelihood(power[band.start : band.stop], variance), bands))
    edges = np.concatenate(run(lambda band: _edges(level, band, variance), bands))
    middle = (model.frequency > 0.05) & (model.frequency < 0.2)
    energy = np.maximum(power - variance * model.noise, 0)[..., middle].mean(axis=-1)
    share = energy / (energy + np.median(energy) + 1e-20)
    odds = _POOLED_WINDOWS * gaussian_filter(share[..., np.newaxis] * likelihood, (_POOLING, _POOLING, 0))
    odds += _edge_odds(edges)
    probability = np.exp(odds - odds.max(axis=-1, keepdims=True))
    radius: FloatArray = _RADII[np.argmin(probability @ model.error, axis=-1)].astype(np.float32)
    return radius, float(np.sqrt(variance))


def _power(level: FloatArray, band: range) -> Float64Array:
    """Return I for a band of grid rows, (rows, columns, rings)."""
    from scipy.fft import fft2

    model = _model()
    height, width = level.shape
    tops = np.clip(_STRIDE * np.array(band) + (_STRIDE - WINDOW) // 2, 0, height - 1 - WINDOW)
    lefts = np.clip(np.arange(0, width, _STRIDE) + (_STRIDE - WINDOW) // 2, 0, width - 1 - WINDOW)
    power = np.empty((len(tops), len(lefts), model.frequency.size))
    for row, top in enumerate(tops):
        strip = level[top : top + WINDOW + 1]
        # Both gradients in one transform: over a ring, the mixed terms cancel.
        gradient = np.diff(strip, axis=1)[:-1] + 1j * np.diff(strip, axis=0)[:, :-1]
        windows = np.lib.stride_tricks.sliding_window_view(gradient, WINDOW, axis=1)[:, lefts].swapaxes(0, 1)
        spectra = fft2(windows * model.window)
        power[row] = (np.square(spectra.real) + np.square(spectra.imag)).reshape(len(lefts), -1) @ model.rings
    return power


def _log_likelihood(power: Float64Array, variance: float) -> Float64Array:
    """Return the logarithm of the likelihood of every radius, at most 0."""
    model = _model()
    noise = variance * model.noise
    signal = np.maximum(np.maximum(power - noise, 0.2 * power), 1e-20)
    doubt = np.square(noise / signal) / 2  # what is left when much noise was taken off is a guess
    covariance = model.covariance + doubt[..., np.newaxis] * np.eye(model.frequency.size)
    error = np.log(signal)[..., np.newaxis] - model.log_template
    log_likelihood: Float64Array = -np.sum(error * np.linalg.solve(covariance, error), axis=-2) / 2
    log_likelihood -= log_likelihood.max(axis=-1, keepdims=True)
    return log_likelihood


def _edges(level: FloatArray, band: range, variance: float) -> Float64Array:
    """Return the sums of w, w^2 and w / softness^2 over the edges in each cell of a band, w being the slope."""
    from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

    top, bottom = band.start * _STRIDE, min(band.stop * _STRIDE, level.shape[0])
    halo = _EDGE_RIVALS + 4
    first = max(top - halo, 0)
    part = level[first : bottom + halo]
    slope = np.hypot(gaussian_filter(part, 0.7, order=(0, 1)), gaussian_filter(part, 0.7, order=(1, 0)))
    crest = (
        (slope == maximum_filter(slope, 7))
        & (slope > 0.25 * maximum_filter(slope, 2 * _EDGE_RIVALS + 1))
        & (slope > 6 * np.sqrt(variance))
    )
    crest[: top - first] = False
    crest[bottom - first :] = False
    y, x = np.nonzero(crest)
    size = 2 * _EDGE_REACH + 1
    height = maximum_filter(part, size)[y, x] - minimum_filter(part, size)[y, x]
    weight = slope[y, x].astype(np.float64)
    softness = np.sqrt(np.maximum((2 / np.pi * height / weight) ** 2 - 1.5**2, 0)) + _SOFT
    columns = -(-level.shape[1] // _STRIDE)
    cell = (y + first - top) // _STRIDE * columns + x // _STRIDE
    sums = [np.bincount(cell, w, len(band) * columns) for w in (weight, weight**2, weight / softness**2)]
    per_cell: Float64Array = np.stack(sums, axis=-1).reshape(len(band), columns, 3).astype(np.float64)
    return per_cell


def _edge_odds(edges: Float64Array) -> Float64Array:
    """Return what the edges say of every radius, in nats."""
    from scipy.ndimage import gaussian_filter

    sums = gaussian_filter(edges, (_POOLING, _POOLING, 0), mode="constant")
    weight, square, inverse = np.moveaxis(sums, -1, 0)
    seen = weight > 1e-12
    weight, square, inverse = (np.where(seen, values, 1.0) for values in (weight, square, inverse))
    count = seen * 2 * np.pi * _POOLING**2 * weight**2 / square
    softness = np.sqrt(weight / inverse)
    z = np.log((_RADII + _SOFT) / (_EDGE_BIAS * softness[..., np.newaxis])) / _EDGE_SD
    z[z < 0] /= 2
    odds: Float64Array = -np.square(z) / 2 * np.minimum(count, _MOST_EDGES)[..., np.newaxis]
    return odds


@cache
def _model() -> _Model:
    profile = np.hanning(WINDOW + 2)[1:-1]
    window = np.outer(profile, profile) / np.square(profile).sum()
    frequency = _frequency(WINDOW)
    lowest, highest = 1.5 / WINDOW, 0.45
    edges = [lowest]
    while edges[-1] < highest:
        edges.append(min(max(edges[-1] * (highest / lowest) ** (1 / 18), edges[-1] + 1 / WINDOW), highest))
    ring = np.digitize(frequency, edges) - 1
    rings = np.stack([ring == k for k in range(len(edges) - 1)]).reshape(len(edges) - 1, -1).astype(np.float64)
    count = rings.sum(axis=1)
    rings /= count[:, np.newaxis]
    centre = np.exp(rings @ np.log(np.maximum(frequency, 1e-9)).ravel())
    picture, noise = _templates(window, rings)
    x, roll_off = np.log(centre / 0.12), np.square(centre / 0.25)
    mean = _SLOPE * x + _ROLL_OFF * roll_off
    covariance = (
        _RIPPLE_SD**2 * np.exp(-np.square((x[:, np.newaxis] - x) / _RIPPLE_LENGTH) / 2)
        + _ROLL_OFF_SD**2 * np.outer(roll_off, roll_off)
        + _SLOPE_SD**2 * np.outer(x, x)
        + _LEVEL_SD**2
        + np.diag(_RING_SD**2 + 2 / count)
    )
    return _Model(
        window.astype(np.float32), rings.T.astype(np.float32), centre, np.log(picture) + mean[:, np.newaxis], noise,
        covariance, _expected_error(),
    )  # fmt: skip


def _templates(window: Float64Array, rings: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the rings' means of 1 / f^2 pictures blurred by every disk, (rings, radii), and of noise, (rings,)."""
    from scipy.fft import fft2, ifft2
    from scipy.special import j1

    # A ring's mean is a mean over the Fourier plane too, with weights that the window has spread.
    fine = 4
    size = fine * WINDOW
    weights = np.zeros((len(rings), size, size))
    weights[:, ::fine, ::fine] = rings.reshape(-1, WINDOW, WINDOW)
    leakage = np.square(np.abs(fft2(window, s=(size, size)))) / size**2
    weights = ifft2(fft2(weights) * fft2(leakage)).real
    weights *= sum(4 * np.square(np.sin(np.pi * f)) for f in _axes(size))  # of the gradient
    noise = weights.sum(axis=(1, 2))
    frequency = _frequency(size)
    weights /= np.square(2 * np.pi * np.maximum(frequency, 1e-9))
    weights[:, 0, 0] = 0
    step = 1 / 1024
    index = np.round(frequency / step).astype(int).ravel()
    radial = np.stack([np.bincount(index, plane.ravel()) for plane in weights])
    f = step * np.arange(radial.shape[1])
    argument = 2 * np.pi * np.maximum(np.multiply.outer(np.multiply.outer(_RADII[1:], _SPREAD), f), 1e-9)
    disks = np.square(2 * j1(argument) / argument * np.sinc(f)).mean(axis=1)
    gains = np.concatenate([np.ones((1, f.size)), disks]) + _FLOOR
    return radial @ gains.T, noise


def _expected_error() -> Float64Array:
    """Return the error that deconvolution leaves, (true radius, radius used), as measured on blurred sharp photos."""
    true, used = _RADII[:, np.newaxis], _RADII
    over = np.maximum(used - true, 0) / (0.15 * true + 0.3)
    under = np.maximum(true - used, 0) / np.maximum(0.3 * true, 1e-9)
    left = np.minimum(0.46 + 0.54 * under**2, 1) + 0.54 * over**2
    left = np.where(used < 1, np.where(true < 1, 0.46, 1.0), left)
    error: Float64Array = left * np.maximum(true, 1)
    return error


def _resample(cells: FloatArray, shape: tuple[int, ...], width: float) -> FloatArray:
    """Interpolate linearly between the centres of cells, at the centres of finer ones of a `width` in cells."""
    for axis, length in enumerate(shape):
        last = cells.shape[axis] - 1
        position = ((np.arange(length) + 0.5) * width - 0.5).clip(0, last).astype(np.float32)
        before = np.floor(position).astype(int)
        share = np.expand_dims(position - before, 1 - axis).astype(np.float32)
        after = np.minimum(before + 1, last)
        cells = (1 - share) * cells.take(before, axis) + share * cells.take(after, axis)
    return cells


def _has_half(plane: FloatArray) -> bool:
    return bool(min(plane.shape) > 2 * WINDOW + 1)


def _half(plane: FloatArray) -> FloatArray:
    height, width = plane.shape[0] // 2 * 2, plane.shape[1] // 2 * 2
    quarters = [plane[i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]
    half: FloatArray = sum(quarters[1:], quarters[0]) * np.float32(0.25)
    return half


def _axes(size: int) -> tuple[Float64Array, Float64Array]:
    f = np.fft.fftfreq(size).astype(np.float64)
    return f[:, np.newaxis], f[np.newaxis]


def _frequency(size: int) -> Float64Array:
    return np.hypot(*_axes(size))
