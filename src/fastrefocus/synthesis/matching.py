"""Where a misfocused photo shows the same as a focused one, by patches, and what these patches say of each pixel.

A patch is described by the photo as blurred and by the photo deconvolved, side by side: the first has no ringing, the
second tells apart what the blur has made alike. Both are taken without their mean, under a Gaussian window, so that
the middle counts most and yet as much around it counts as the PSF reaches; and are turned to their principal axes.
The focused photo is described by its blurred version, and by that deconvolved with the very same settings, so that
what deconvolution gets wrong is wrong alike in both.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.native.votes import gather_votes
from fastrefocus.parallel import bands, thread_imap
from fastrefocus.progress import Tick, untold
from fastrefocus.synthesis.library import Indices
from fastrefocus.synthesis.search import nearest_vectors

VOTE_HALF = 4  # of the 9 x 9 pixels that a match votes on
NEIGHBOURS = 5

_AXES = 32  # principal axes; 24 lose nothing, 40 gain nothing
_SAMPLES = 20_000  # patches that tell the axes
_AT_A_TIME = 8_192

#: Variance of encoded values that is noise: matches nearer than this are equally good.
NOISE_VARIANCE = 1e-4

_SLACK = 0.2 * NOISE_VARIANCE  # what the patch at the registered place may be farther away than the nearest one
_RATIO = 1.75  # and how many times, on average around it, if the place is known to less than a pixel
_AROUND = 8.0  # pixels, standard deviation


class Look(NamedTuple):
    """A photo as it is compared: (H, W, C) float32 of encoded values."""

    blurred: FloatArray
    deconvolved: FloatArray


class _Window(NamedTuple):
    """Pixels around a patch's centre that are compared, by their displacement (y, x), and what their squares count."""

    offsets: npt.NDArray[np.intp]
    weights: FloatArray

    @staticmethod
    def gaussian(sigma: float, step: int, weight: float) -> "_Window":
        reach = int(2.25 * sigma) // step * step
        line = np.arange(-reach, reach + 1, step)
        offsets = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
        weights = np.exp(-np.square(offsets).sum(axis=1) / (2 * sigma**2))
        return _Window(offsets, (weight**2 * weights / weights.sum()).astype(np.float32))

    def describe(self, photo: FloatArray, pixels: Indices) -> FloatArray:
        """Return the patches around pixels (row, column), without their mean and weighted, (M, D) float32."""
        reach = int(self.offsets.max())
        padded = np.pad(photo, [(reach, reach), (reach, reach), (0, 0)], mode="symmetric")
        flat = padded.reshape(-1, photo.shape[2])
        centres = (pixels[:, 0] + reach) * padded.shape[1] + pixels[:, 1] + reach
        steps = self.offsets[:, 0] * padded.shape[1] + self.offsets[:, 1]
        patches: FloatArray = flat[centres[:, np.newaxis] + steps]
        patches -= np.einsum("mdc,d->mc", patches, self.weights / self.weights.sum())[:, np.newaxis]
        patches *= np.sqrt(self.weights)[:, np.newaxis]
        return patches.reshape(len(patches), -1)


@dataclass(frozen=True)
class Windows:
    """What is compared of the two versions of a photo."""

    blurred: _Window
    deconvolved: _Window

    @staticmethod
    def for_blur(sigma: float) -> "Windows":
        """Return the windows for a PSF of a standard deviation along one axis, pixels."""
        width = max(5.0, 2 * sigma)
        return Windows(_Window.gaussian(width, round(width / 1.6), 1.0), _Window.gaussian(2.5, 2, 0.6))

    def describe(self, look: Look, pixels: Indices) -> FloatArray:
        """Return the features of the patches around some pixels, (M, D) float32."""
        parts = [self.blurred.describe(look.blurred, pixels), self.deconvolved.describe(look.deconvolved, pixels)]
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True, eq=False)
class Matches:
    """The nearest patches of each query.

    Attributes
    ----------
    pixels : ndarray
        (M, 2) int32: row and column of each query in the misfocused photo.
    positions : ndarray
        (N, 3) int32: photo, row and column of each patch of the library.
    patches : ndarray
        (M, K) int32: the nearest ones, by rising distance.
    distances : ndarray
        (M, K) float32: mean squared difference, weighted, of encoded values.
    contrast : ndarray
        (M,) float32: the same measure between the query and a flat patch.
    """

    pixels: Indices
    positions: Indices
    patches: Indices
    distances: FloatArray
    contrast: FloatArray

    @property
    def misfit(self) -> FloatArray:
        """(M,) float32: the distance in proportion to what there is to match; 0 fits, 1 is no better than nothing."""
        misfit: FloatArray = np.sqrt(self.distances.mean(axis=1) / (self.contrast + NOISE_VARIANCE))
        return misfit


def match(
    photo: Look,
    examples: Sequence[Look],
    queries: Indices,
    positions: Indices,
    windows: Windows,
    *,
    places: Indices | None = None,
    exact: Sequence[BoolArray] = (),
    threads: int | None,
    tick: Tick = untold,
) -> Matches:
    """Find for each query, (M, 2) pixels of the photo, the patches most like it among `positions` in the examples.

    `places`, (M, 2), is where registered examples show the same: the patch there, if no other is nearer, is all five.
    Where it is known to less than a pixel, `exact`, (h, w) for each example, others may be somewhat nearer: among many
    patches some are by chance.
    """
    axes = _principal_axes(examples, positions, windows)
    own = [positions[positions[:, 0] == number, 1:] for number in range(len(examples))]
    found = (_project(look, pixels, windows, axes, threads, tick) for look, pixels in zip(examples, own, strict=True))
    library = np.concatenate([projected for projected, _ in found])
    wanted, contrast = _project(photo, queries, windows, axes, threads, tick)
    distances, patches = nearest_vectors(library, wanted, NEIGHBOURS, threads=threads, tick=tick)
    if places is not None:
        for there, known in zip(_patches_at(places, positions, examples), exact, strict=True):
            apart = np.square(library[there] - wanted).sum(axis=1)
            nearest = distances[:, 0] + np.float32(_SLACK)
            alone = _is_nearly_nearest(queries, apart, nearest, (there >= 0) & known[tuple(places.T)])
            alone |= (there >= 0) & (apart <= nearest)
            distances[alone], patches[alone] = apart[alone, np.newaxis], there[alone, np.newaxis]
    return Matches(queries, positions, patches, distances, contrast)


def _is_nearly_nearest(queries: Indices, apart: FloatArray, nearest: FloatArray, exact: BoolArray) -> BoolArray:
    """Return for which queries the patch at the exact place is near enough, on average around them, (M,)."""
    from scipy.ndimage import gaussian_filter

    planes = np.zeros((2, *queries.max(axis=0) + 1), np.float32)
    for plane, values in zip(planes, (apart, nearest), strict=True):
        plane[tuple(queries.T)] = np.where(exact, values, 0)
    here, best = (gaussian_filter(plane, _AROUND)[tuple(queries.T)] for plane in planes)
    near: BoolArray = exact & (here < _RATIO * best) & (apart < _RATIO**2 * nearest)
    return near


def _patches_at(places: Indices, positions: Indices, examples: Sequence[Look]) -> Iterator[Indices]:
    """Give for each example the patches whose centres are certain pixels, (M,); -1 where there is none."""
    for number, look in enumerate(examples):
        patches = np.full(look.blurred.shape[:2], -1, np.int32)
        own = np.flatnonzero(positions[:, 0] == number)
        patches[tuple(positions[own, 1:].T)] = own
        yield patches[tuple(places.T)]


def _parts(pixels: Indices) -> Iterator[Indices]:
    for start in range(0, len(pixels), _AT_A_TIME):
        yield pixels[start : start + _AT_A_TIME]


def _principal_axes(examples: Sequence[Look], positions: Indices, windows: Windows) -> FloatArray:
    """Return the axes along which the library's patches differ most, (D, axes) float32."""
    some = positions[:: max(1, len(positions) // _SAMPLES)]
    samples = [windows.describe(look, some[some[:, 0] == i, 1:]) for i, look in enumerate(examples)]
    patches = np.concatenate(samples).astype(np.float64)
    _, axes = np.linalg.eigh(patches.T @ patches)
    return np.ascontiguousarray(axes[:, : -_AXES - 1 : -1], np.float32)


def _project(
    look: Look, pixels: Indices, windows: Windows, axes: FloatArray, threads: int | None, tick: Tick
) -> tuple[FloatArray, FloatArray]:
    """Return the patches along the axes, (M, axes), and their squared lengths before, (M,)."""

    def project(part: Indices) -> tuple[FloatArray, FloatArray]:
        features = windows.describe(look, part)
        return features @ axes, np.einsum("md,md->m", features, features)

    projected, lengths = np.empty((len(pixels), axes.shape[1]), np.float32), np.empty(len(pixels), np.float32)
    with closing(thread_imap(project, list(_parts(pixels)), threads)) as parts:
        for number, part in enumerate(parts):
            there = slice(number * _AT_A_TIME, (number + 1) * _AT_A_TIME)
            projected[there], lengths[there] = part
            tick(0)
    return projected, lengths


def vote(
    matches: Matches, values: FloatArray, shape: tuple[int, int], *, threads: int | None, tick: Tick = untold
) -> tuple[FloatArray, FloatArray]:
    """Return the weighted mean and variance, (H, W, C), of what the matched patches say of each pixel; else 0.

    `values`, (P, h, w, C) float32, is what the examples have at each pixel. A patch counts by the inverse square of
    its distance, which is its variance.
    """
    queries = np.full(shape, -1, np.int32)
    queries[tuple(matches.pixels.T)] = np.arange(len(matches.pixels), dtype=np.int32)
    weights = 1 / np.square(1 + matches.distances / np.float32(NOISE_VARIANCE))
    means = np.zeros((*shape, values.shape[-1]), np.float32)
    variances = np.zeros_like(means)

    def fill(rows: slice) -> None:
        gather_votes(
            queries, matches.patches, weights, matches.positions, values, VOTE_HALF, means, variances,
            rows.start, rows.stop,
        )  # fmt: skip

    with closing(thread_imap(fill, bands(shape[0], 16), threads)) as finished:
        for _ in finished:
            tick(0)
    return means, variances


def library_positions(sources: Sequence[BoolArray]) -> Indices:
    """Return photo, row and column of all patches that lie wholly inside the photos' masks, (N, 3) int32."""
    from scipy.ndimage import binary_erosion

    width = 2 * VOTE_HALF + 1
    found = [np.empty((0, 3), np.int32)]
    for number, source in enumerate(sources):
        inner = np.argwhere(binary_erosion(source, np.ones((width, width)))).astype(np.int32)
        found.append(np.insert(inner, 0, number, axis=1))
    return np.concatenate(found)
