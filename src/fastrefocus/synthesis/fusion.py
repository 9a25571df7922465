r"""A misfocused photo restored by deconvolution where that is possible, by examples where it is not.

    U, V     the misfocused photo; a focused one
    G        the PSF, which V is blurred by as well, and given U's noise
    H        the Wiener filter (1 + mu) conj(G) / (\|G\|^2 + mu); T deconvolution by total variation
    M        what the patches that match say of a pixel (`matching.vote`)

Pictures are made of two parts, what a deconvolution finds in the photo itself and what it loses, as the examples tell:

    copy     H U + M(V - H G V) with a large mu is the data-consistency step Z + H (U - G Z) on the picture Z = M(V),
             but for the borders: bands that the lens let through are the photo's, the others the examples'
    guess    D U + s M(V - D G V) with D = T and with H of a small mu, which keeps faint texture that T takes for
             noise. Of both the one with the smaller error in the examples; s <= 1 is the share of the vote that is
             not spread

The copy is much better where a match shows the same thing, and worse where it shows something alike; so each pixel is
a mixture of both, by the misfit of the matches around it.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import BoolArray, FloatArray, split_channels
from fastrefocus.deconvolution.deconvolve import deconvolve
from fastrefocus.deconvolution.selection import choose_lam, noise_sigma
from fastrefocus.errors import ConvergenceWarning
from fastrefocus.light import decode, encode
from fastrefocus.progress import Callback, Progress, Tick
from fastrefocus.synthesis.comparison import CLIPPED
from fastrefocus.synthesis.library import Indices
from fastrefocus.synthesis.matching import Look, Matches, Windows, library_positions, match, vote
from fastrefocus.synthesis.view import bounding_window

_Scalar = TypeVar("_Scalar", bound=np.generic)

_COPY_MU = 0.5  # from 0.3 to 1 the pictures differ by 0.3 dB; what is weaker in the photo comes from the examples
_GUESS_MU = 0.01
_LEAST_LAM = 0.002  # a PSF is never exact, and its errors grow as noise does
_SMALL_BLUR = 3.0  # pixels, standard deviation: a larger PSF has more zeros, and more of them beside their places, and
_SMALL_ERROR = 0.016  # so mu and lam grow by the fourth power of its size; and by the square of the model's error,
_MOST_CAUTION = 10.0  # linear light, but no more than tenfold
_CHOICE = 4  # the power of the ratio of both guesses' errors by which they are mixed
_LEAST_ERROR = 1e-5  # mean squared, of encoded values: below it both guesses are right
_GOOD_MISFIT, _BAD_MISFIT = 0.3, 0.6  # the copy up to the one, the guess from the other
_TRANSITION = 3.0  # standard deviation of the smoothing between them, pixels
_SPREAD_WEIGHT = 0.3  # of the votes' variance against their square
_WINDOW = 9  # pixels over which these, and errors, are averaged
_QUERY_STEP = 2  # every second pixel of every second row is looked up: 25 patches vote on each even so
_DOUBT = 0.05  # standard deviation of votes, of encoded values, at which the confidence is a half


@dataclass(frozen=True, eq=False)
class Fusion:
    """A restored photo.

    Attributes
    ----------
    image : ndarray
        (H, W, C) float32, linear light; outside the mask the photo.
    copied : ndarray
        (H, W) float32: the share of the copy at each pixel, 0..1; 0 outside the mask.
    confidence : ndarray
        (H, W) float32, 0..1, by the misfit of the matches and the spread of their votes; NaN outside the mask.
    source : ndarray
        (H, W, 3) int32: photo, row and column that the nearest match shows at each pixel; -1 outside the mask.
    """

    image: FloatArray
    copied: FloatArray
    confidence: FloatArray
    source: Indices


def fuse(
    defocused: FloatArray,
    focused: Sequence[FloatArray],
    psf: FloatArray,
    mask: BoolArray,
    sources: Sequence[BoolArray],
    *,
    exact: Sequence[BoolArray] | None = None,
    model_error: float = 0.0,
    threads: int | None = None,
    callback: Callback | None = None,
) -> Fusion:
    """Restore what is inside the mask.

    Parameters
    ----------
    defocused : ndarray
        (H, W, C) float32, linear light, blurred by the PSF inside the mask.
    focused : sequence of ndarray
        Photos of the same channels and brightness, linear light. Without any it is a deconvolution.
    psf : ndarray
        (h, w) float32, odd, sums to 1.
    mask : ndarray
        (H, W) bool. What is outside is neither changed nor believed: it may be in focus.
    sources : sequence of ndarray
        bool, where each focused photo has examples.
    exact : sequence of ndarray, optional
        If the focused photos are registered, so that they show each thing at the defocused one's place, and are of its
        size: (H, W) bool, where they are so to less than a pixel.
    model_error : float
        Mean absolute difference, in linear light, that the PSF and the registration leave: 0 if it is not known.
    threads, callback :
        As everywhere; the stage is "match".
    """
    progress = Progress(callback, "match", 4)
    progress(0)
    window = bounding_window(mask, 2 * max(psf.shape))
    photo, inside = defocused[window], mask[window]
    sigma = _deviation(psf)
    weights = _Weights.careful(choose_lam(photo.mean(axis=2), psf, mask=inside), sigma, model_error)
    restored = _restored(photo, psf, weights, inside, threads, progress.after(0))
    noise = _noise(photo, restored.total_variation, psf, inside)
    progress(1)
    positions = library_positions(sources)
    if not len(positions):
        progress(4)
        return _deconvolved(defocused, window, inside, restored.total_variation)
    library = [_example(example, psf, weights, noise, threads, progress.after(1)) for example in focused]
    looks, losses = zip(*library, strict=True)
    progress(2)
    queries = _queries(inside)
    matches = match(
        Look(_encoded(photo), restored.total_variation), looks, queries, positions, Windows.for_blur(sigma),
        places=None if exact is None else queries + [side.start for side in window], exact=exact or (),
        threads=threads, tick=progress.after(2),
    )  # fmt: skip
    progress(3)
    votes = vote(matches, _stacked(losses), inside.shape, threads=threads, tick=progress.after(3))
    misfit = _smoothed(matches.misfit, queries, inside)
    copied = np.clip((_BAD_MISFIT - misfit) / (_BAD_MISFIT - _GOOD_MISFIT), 0, 1)
    image, variance = _mixed(_parts(restored, *votes), copied)
    confidence = (1 - np.minimum(misfit, 1)) / (1 + variance / _DOUBT**2)
    progress(4)
    return Fusion(
        _put(defocused, window, inside, decode(image)),
        _put(np.zeros(mask.shape, np.float32), window, inside, copied),
        _put(np.full(mask.shape, np.nan, np.float32), window, inside, confidence),
        _put(np.full((*mask.shape, 3), -1, np.int32), window, inside, _sources(matches, inside.shape)),
    )


def _deconvolved(defocused: FloatArray, window: tuple[slice, slice], inside: BoolArray, sharp: FloatArray) -> Fusion:
    """Return what a photo is without examples; `sharp` is encoded."""
    shape = defocused.shape[:2]
    confidence = np.full(shape, np.nan, np.float32)
    confidence[window][inside] = 0
    image = _put(defocused, window, inside, decode(sharp))
    return Fusion(image, np.zeros(shape, np.float32), confidence, np.full((*shape, 3), -1, np.int32))


class _Weights(NamedTuple):
    """Weight of the prior of total variation, and the weak filter's mu."""

    lam: float
    mu: float

    @staticmethod
    def careful(lam: float, sigma: float, model_error: float) -> "_Weights":
        """Return the weights for a lam that the noise calls for, and a PSF of a standard deviation along one axis."""
        caution = min(max((sigma / _SMALL_BLUR) ** 4, (model_error / _SMALL_ERROR) ** 2, 1), _MOST_CAUTION)
        return _Weights(max(lam, _LEAST_LAM * caution), _GUESS_MU * caution)


def _example(
    sharp: FloatArray, psf: FloatArray, weights: _Weights, noise: float, threads: int | None, tick: Tick
) -> tuple[Look, FloatArray]:
    """Return what a focused photo, (H, W, C), is compared by, and what each version of it has lost, (H, W, 3 C)."""
    blurred = _with_noise(blur(sharp, psf), noise)
    versions = _restored(blurred, psf, weights, None, threads, tick)
    losses = np.concatenate([_encoded(sharp) - version for version in versions], axis=2)
    return Look(_encoded(blurred), versions.total_variation), losses


class _Versions(NamedTuple):
    """What deconvolutions make of a photo, (H, W, C) of encoded values."""

    weak: FloatArray
    wiener: FloatArray
    total_variation: FloatArray


class _Part(NamedTuple):
    """A version, and mean and variance of the votes on what it has lost; (H, W, C)."""

    version: FloatArray
    lost: FloatArray
    spread: FloatArray

    @property
    def error(self) -> FloatArray:
        """(H, W): the mean squared error of the version in the examples that match around each pixel."""
        return _averaged(np.square(self.lost) + self.spread) + np.float32(_LEAST_ERROR)

    @property
    def guess(self) -> FloatArray:
        """(H, W, C): what is lost added as far as the votes agree on it."""
        power, spread = _averaged(np.square(self.lost)), _averaged(self.spread)
        share: FloatArray = np.divide(power, np.maximum(power + _SPREAD_WEIGHT * spread, np.float32(1e-9)))
        guess: FloatArray = self.version + share[..., np.newaxis] * self.lost
        return guess


class _Parts(NamedTuple):
    """The parts of all versions."""

    weak: _Part
    wiener: _Part
    total_variation: _Part


def _parts(versions: _Versions, lost: FloatArray, spread: FloatArray) -> _Parts:
    count = len(versions)
    votes = zip(versions, np.split(lost, count, axis=2), np.split(spread, count, axis=2), strict=True)
    return _Parts(*(_Part(*vote) for vote in votes))


def _mixed(parts: _Parts, copied: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mix copy and guesses; return the picture, (H, W, C), and the variance of its votes, (H, W)."""
    filtered = 1 / (1 + (parts.wiener.error / parts.total_variation.error) ** _CHOICE)
    shares = np.stack([copied, (1 - copied) * filtered, (1 - copied) * (1 - filtered)])
    pictures = parts.weak.version + parts.weak.lost, parts.wiener.guess, parts.total_variation.guess
    spreads = [_averaged(part.spread) for part in parts]
    image: FloatArray = np.einsum("khw,khwc->hwc", shares, np.stack(pictures))
    variance: FloatArray = np.einsum("khw,khw->hw", shares, np.stack(spreads))
    return image, variance


def _restored(
    photo: FloatArray, psf: FloatArray, weights: _Weights, known: BoolArray | None, threads: int | None, tick: Tick
) -> _Versions:
    """Deconvolve a photo, (H, W, C).

    Where it is not known, or clipped, the filters are given what total variation finds there: what is in focus, or
    was brighter than it says, would ring.
    """
    plain = photo[..., 0] if photo.shape[2] == 1 else photo
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # more iterations change nothing that can be seen
        result = deconvolve(
            plain, psf, lam=weights.lam, mask=known, saturation=None if known is None else CLIPPED, tv="vector",
            num_iter=40, tol=1e-3, value_range=(0, np.inf), threads=threads, callback=lambda *_: tick(0),
        )  # fmt: skip
    sharp = result.image.reshape(photo.shape)
    if known is not None:
        plain = _completed(photo, sharp, psf, known).reshape(plain.shape)
    filtered = [
        deconvolve(plain, psf, method="wiener", lam=mu, threads=threads).image * np.float32(1 + mu)
        for mu in (_COPY_MU, weights.mu)
    ]
    return _Versions(*(_encoded(image.reshape(photo.shape)) for image in (*filtered, sharp)))


def _completed(photo: FloatArray, sharp: FloatArray, psf: FloatArray, known: BoolArray) -> FloatArray:
    """Return the photo, with what the lens would make of the sharp one where it is not known, or clipped."""
    blurred = blur(sharp, psf)
    return np.where(known[..., np.newaxis], np.where(photo < CLIPPED, photo, np.maximum(photo, blurred)), blurred)


def _noise(photo: FloatArray, sharp: FloatArray, psf: FloatArray, known: BoolArray) -> float:
    """Return the standard deviation of the noise where the photo is known; `sharp` is encoded."""
    completed = _completed(photo, decode(sharp), psf, known)
    return float(np.mean([noise_sigma(plane) for plane in split_channels(completed)]))


def _with_noise(photo: FloatArray, sigma: float) -> FloatArray:
    noise = np.random.default_rng(0).standard_normal(photo.shape, np.float32)
    return photo + np.float32(sigma) * noise


def blur(photo: FloatArray, psf: FloatArray) -> FloatArray:
    """Blur a photo, (H, W, C), mirrored at its borders."""
    from scipy.signal import oaconvolve

    margins = [(length // 2, length // 2) for length in psf.shape] + [(0, 0)]
    padded = np.pad(photo, margins, mode="symmetric")
    blurred: FloatArray = oaconvolve(padded, psf[..., np.newaxis], mode="valid", axes=(0, 1)).astype(np.float32)
    return blurred


def _encoded(light: FloatArray) -> FloatArray:
    return encode(np.clip(light, 0, 1))


def _deviation(psf: FloatArray) -> float:
    """Return the standard deviation of a PSF along one axis, pixels."""
    y, x = np.indices(psf.shape)
    centre = (psf * y).sum(), (psf * x).sum()
    return float(np.sqrt((psf * ((y - centre[0]) ** 2 + (x - centre[1]) ** 2)).sum() / 2))


def _queries(mask: BoolArray) -> Indices:
    """Return the pixels that are looked up, (M, 2): of a grid, so that one is in or next to every pixel of the mask."""
    from scipy.ndimage import binary_dilation

    grid = np.zeros_like(mask)
    grid[::_QUERY_STEP, ::_QUERY_STEP] = True
    return np.argwhere(grid & binary_dilation(mask, np.ones((3, 3)))).astype(np.int32)


def _stacked(planes: Sequence[FloatArray]) -> FloatArray:
    """Return photos of different sizes as one array, (P, h, w, C), with 0 beyond their ends."""
    height, width = (max(plane.shape[axis] for plane in planes) for axis in (0, 1))
    stack = np.zeros((len(planes), height, width, planes[0].shape[2]), np.float32)
    for own, plane in zip(stack, planes, strict=True):
        own[: plane.shape[0], : plane.shape[1]] = plane
    return stack


def _smoothed(values: FloatArray, queries: Indices, mask: BoolArray) -> FloatArray:
    """Return the mean of the queries' values around each pixel, (H, W), weighted by a Gaussian; 0 outside the mask."""
    from scipy.ndimage import gaussian_filter

    planes = np.zeros((2, *mask.shape), np.float32)
    planes[0][tuple(queries.T)] = values
    planes[1][tuple(queries.T)] = 1
    total, count = (gaussian_filter(plane, _TRANSITION) for plane in planes)
    smoothed: FloatArray = np.divide(total, count, out=np.zeros_like(total), where=mask)
    return smoothed


def _averaged(values: FloatArray) -> FloatArray:
    """Return the mean of (H, W, C) over the channels and the pixels around each."""
    from scipy.ndimage import uniform_filter

    averaged: FloatArray = np.maximum(uniform_filter(values.mean(axis=2), _WINDOW), 0)
    return averaged


def _sources(matches: Matches, shape: tuple[int, ...]) -> Indices:
    """Return photo, row and column of what the nearest query's best match shows at each pixel, (H, W, 3)."""
    from scipy.ndimage import distance_transform_edt

    numbers = np.full(shape, -1, np.int32)
    numbers[tuple(matches.pixels.T)] = np.arange(len(matches.pixels), dtype=np.int32)
    nearest = distance_transform_edt(numbers < 0, return_distances=False, return_indices=True)
    query = numbers[tuple(nearest)]
    found: Indices = matches.positions[matches.patches[query, 0]]
    found[..., 1:] += np.moveaxis(np.indices(shape, np.int32), 0, -1) - matches.pixels[query]
    return found


def _put(
    whole: npt.NDArray[_Scalar], window: tuple[slice, slice], inside: BoolArray, part: npt.NDArray[_Scalar]
) -> npt.NDArray[_Scalar]:
    """Return a copy of an array with the pixels inside a mask, which is that of a window, replaced."""
    result = whole.copy()
    result[window][inside] = part[inside]
    return result
