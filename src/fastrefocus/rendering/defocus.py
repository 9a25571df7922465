"""Defocus rendered from a sharp photo and the circle of confusion of each pixel."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import FloatArray, as_image, as_plane, fill_unknown
from fastrefocus.light import decode, encode
from fastrefocus.optics.aperture import Aperture, as_aperture
from fastrefocus.optics.coc import as_existing, missing_blur
from fastrefocus.parallel import Map, bands, thread_count, thread_map
from fastrefocus.progress import Callback, Progress
from fastrefocus.rendering import sampling, scatter
from fastrefocus.rendering.layers import Layer, find_groups, margin_for, take_apart, with_margin

Quality = Literal["fast", "default", "reference"]

#: The largest radius scattered at full size, pixels: of twice the radius at half size, and so on.
_THRESHOLDS = {"fast": 4.0, "default": 10.0}

_LARGEST_RADIUS = 1000.0  # pixels; more is a mistake in the units
_MOST_GAIN = 100.0
_SHARP = 0.5  # pixels; a circle of up to this radius lies within its pixel
_ROUNDING = 5e-7  # of the largest value: light that changes by less has not been blurred
_STEPS = 100  # of the progress


def render_defocus(
    image: npt.ArrayLike,
    coc_radius: npt.ArrayLike,
    *,
    aperture: str | Aperture | npt.ArrayLike = "disk",
    quality: Quality = "default",
    linearize: bool = True,
    existing_radius: npt.ArrayLike | None = None,
    highlight_gain: float = 1.0,
    highlight_threshold: float = 0.9,
    threads: int | None = None,
    callback: Callback | None = None,
) -> FloatArray:
    """Blur a sharp photo as a lens does, given the circle of confusion of each pixel.

    The photo is cut into layers where depth jumps. What nearer layers hide is filled in from around, the mixed pixels
    of outlines are parted, the light of each layer is spread over its circles of confusion, and the layers are put over
    one another. What lies beyond the photo's border is continued smoothly from it.

    Parameters
    ----------
    image : array_like
        (H, W) or (H, W, 3), 0..1, sharp everywhere.
    coc_radius : array_like
        (H, W): signed radius of the circle of confusion, pixels, > 0 behind the focal plane, at most 1000; NaN
        (unknown) is taken from the nearest known pixel. See `fastrefocus.coc_from_depth`.
    aperture : "disk", Aperture or array_like
        The shape of the circles; an array is the mask of an `fastrefocus.Aperture`. It is shown as given in front of
        the focal plane, turned by 180 degrees behind it, and scaled to the radius.
    quality : {"fast", "default", "reference"}
        "fast": for previews; large circles are spread in smaller pictures than by default. "reference": by aperture
        sampling, some hundred times slower: exact but for what the photo does not show and for the noise of 512
        samples, which shows in large circles of small lights.
    linearize : bool
        Take the values as sRGB-encoded, blur in linear light and encode the result. False: blur the values as they are.
    existing_radius : array_like, optional
        (H, W) or a number: blur that the photo already has, as the radius of a disk of the same variance, pixels,
        >= 0; NaN: none known. Only what is missing is added; see `fastrefocus.missing_blur`. Blur is not taken away.
    highlight_gain : float
        1 to 100: how much brighter clipped highlights are taken to have been, in linear light, where they are
        blurred. 1: not at all.
    highlight_threshold : float
        0 to < 1: the (encoded) value of the brightest channel above which the gain sets in; it is full at 1.
    threads : int, optional
        None: all CPUs. The result does not depend on it.
    callback : callable, optional
        Called as ``callback("defocus", done, total)``; returning False cancels.

    Returns
    -------
    ndarray
        float32, the image's shape; pixels that do not change are the image's, bit for bit. Without highlight gain no
        value lies outside the range of the image's.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    Cancelled
        If the callback returned False.

    References
    ----------
    Push-pull: Gortler, Grzeszczuk, Szeliski and Cohen, "The Lumigraph", SIGGRAPH 1996. Aperture sampling: Haeberli and
    Akeley, "The accumulation buffer", SIGGRAPH 1990.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.zeros((21, 31), np.float32)
    >>> image[10, 15] = 1
    >>> blurred = render_defocus(image, np.full((21, 31), 2.0), linearize=False)
    >>> print(blurred[10, 12:19].round(3))
    [0.    0.038 0.08  0.08  0.08  0.038 0.   ]
    """
    photo = as_image(image)
    shape = as_aperture(aperture)
    radius = _checked_radius(coc_radius, photo)
    checks.choice(quality, "quality", get_args(Quality))
    linearize = checks.flag(linearize, "linearize")
    gain = checks.number(highlight_gain, "highlight_gain", least=1)
    if gain > _MOST_GAIN:
        raise ValueError(f"highlight_gain must be 1 to {_MOST_GAIN:g}, got {highlight_gain!r}")
    threshold = checks.number(highlight_threshold, "highlight_threshold", least=0, below=1)
    thread_count(threads)
    progress = Progress(callback, "defocus", _STEPS)
    if existing_radius is not None:
        radius = missing_blur(radius, as_existing(existing_radius, "existing_radius", radius.shape), aperture=shape)
    progress(0)
    recover = partial(_recovered, gain=gain, threshold=threshold) if gain > 1 else None
    with thread_map(threads, len(bands(len(photo)))) as map_:
        task = _Task(photo, radius, shape, quality, linearize, map_, recover)
        return next(task.frames([0.0], progress))


def render_focus_sweep(
    image: npt.ArrayLike,
    coc_radius: npt.ArrayLike,
    offsets: Sequence[float],
    *,
    aperture: str | Aperture | npt.ArrayLike = "disk",
    quality: Quality = "default",
    linearize: bool = True,
    threads: int | None = None,
    callback: Callback | None = None,
) -> Iterator[FloatArray]:
    """Blur a sharp photo for one focus after another, as `render_defocus` does, taking it apart only once.

    Moving the focal plane of a thin lens adds a constant to the signed radius of the circle of confusion.

    Parameters
    ----------
    image, coc_radius, aperture, quality, linearize, threads
        See `render_defocus`.
    offsets : sequence of float
        What is added to `coc_radius` for each frame, pixels, between -1000 and 1000: what has the radius -offset comes
        into focus.
    callback : callable, optional
        Called as ``callback("defocus", done, total)`` over all frames; returning False cancels.

    Yields
    ------
    ndarray
        float32, the image's shape; as `render_defocus` gives it for ``coc_radius + offset``, to rounding and to what is
        filled in along outlines, which is made once for the largest blur of all frames.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above: at once, not with the first frame.
    Cancelled
        If the callback returned False.

    Notes
    -----
    All layers are kept while frames are made: some 20 bytes a pixel and layer.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).random((20, 30), np.float32)
    >>> radius = np.repeat([np.linspace(-3, 3, 30)], 20, axis=0)
    >>> near, far = render_focus_sweep(image, radius, [3, -3])
    >>> bool(near[:, :8].std() > far[:, :8].std()), bool(near[:, -8:].std() < far[:, -8:].std())
    (True, True)
    """
    photo = as_image(image).copy()  # the caller may change the image between frames
    shape = as_aperture(aperture)
    radius = _checked_radius(coc_radius, photo)
    shifts = checks.numbers(offsets, "offsets", above=-_LARGEST_RADIUS, below=_LARGEST_RADIUS)
    checks.choice(quality, "quality", get_args(Quality))
    linearize = checks.flag(linearize, "linearize")
    thread_count(threads)
    progress = Progress(callback, "defocus", _STEPS)

    def frames() -> Iterator[FloatArray]:
        with thread_map(threads, len(bands(len(photo)))) as map_:
            yield from _Task(photo, radius, shape, quality, linearize, map_).frames(shifts, progress)

    return frames()


@dataclass(frozen=True, eq=False)
class _Task:
    """A photo to be rendered for one focus or several."""

    photo: FloatArray
    radius: FloatArray
    aperture: Aperture
    quality: Quality
    linearize: bool
    map_: Map
    recover: Callable[[FloatArray, FloatArray], FloatArray] | None = None  # photo, radius -> gain, all by rows

    def frames(self, offsets: Sequence[float], progress: Progress) -> Iterator[FloatArray]:
        """Yield the photo with each offset added to its radii."""
        extremes = float(self.radius.min()), float(self.radius.max())
        reaches = [max(abs(extreme + offset) for extreme in extremes) for offset in offsets]
        scene: _Scene | None = None
        for i, (offset, reach) in enumerate(zip(offsets, reaches, strict=True)):
            report = partial(self._report, progress, i, len(offsets))
            if reach <= _SHARP:
                frame = self.photo.copy()
            else:
                scene = scene or self._take_apart(max(reaches), keep=len(offsets) > 1)
                frame = self._frame(scene, offset, report)
            report(1.0)
            yield frame

    @staticmethod
    def _report(progress: Progress, frame: int, frames: int, share: float) -> None:
        progress(min(int(_STEPS * (frame + share) / frames), _STEPS))

    def _take_apart(self, reach: float, *, keep: bool) -> "_Scene":
        photo = self.photo.reshape(*self.photo.shape[:2], -1)
        light, linear = with_margin(photo.shape, reach)

        def convert(rows: slice) -> tuple[float, float]:
            linear[rows] = decode(photo[rows]) if self.linearize else photo[rows]
            if self.recover is not None:
                linear[rows] *= self.recover(photo[rows], self.radius[rows])
            return float(linear[rows].min()), float(linear[rows].max())

        groups = find_groups(self.radius, reach, self.map_)
        # The groups behind one another are found one by one, by one thread, while others convert the light.
        tasks = [groups.behind, *(partial(convert, rows) for rows in bands(len(photo)))]
        behind, *ranges = self.map_(lambda task: task(), tasks)
        light_range = min(low for low, _ in ranges), max(high for _, high in ranges)
        everywhere = self.quality == "reference"
        layers = take_apart(light, light_range, groups, behind, self.map_, everywhere=everywhere)
        return _Scene(list(layers) if keep or everywhere else layers, linear, light_range, margin_for(reach))

    def _frame(self, scene: "_Scene", offset: float, report: Callable[[float], None]) -> FloatArray:
        canvas = np.empty(scene.linear.shape, np.float32)
        # The photo's own light stays where hardly any falls.
        self.map_(lambda rows: np.copyto(canvas[rows], scene.linear[rows]), bands(len(canvas)))
        if self.quality == "reference":
            sampling.composite(scene.layers, offset, canvas, scene.margin, self.aperture, self.map_, report)
        else:
            threshold = _THRESHOLDS[self.quality]
            scatter.composite(scene.layers, offset, canvas, scene.margin, self.aperture, threshold, self.map_, report)
        low, high = scene.light_range
        photo = self.photo.reshape(canvas.shape)
        ends = np.array(scene.light_range, np.float32)
        least, most = encode(ends) if self.linearize else ends
        if self.recover is None:  # decoding and encoding may have moved these by a rounding
            least, most = photo.min(), photo.max()

        def finish(rows: slice) -> None:
            light = canvas[rows]
            unchanged = np.abs(light - scene.linear[rows]) <= _ROUNDING * max(abs(low), abs(high))
            unchanged &= np.abs(self.radius[rows] + np.float32(offset))[..., np.newaxis] <= _SHARP
            np.clip(encode(light) if self.linearize else light, least, most, out=canvas[rows])
            np.copyto(canvas[rows], photo[rows], where=unchanged)

        self.map_(finish, bands(len(canvas)))
        return canvas.reshape(self.photo.shape)


@dataclass(frozen=True, eq=False)
class _Scene:
    """A photo taken apart."""

    layers: Iterable[Layer]
    linear: FloatArray  # (H, W, C)
    light_range: tuple[float, float]
    margin: int


def _checked_radius(coc_radius: npt.ArrayLike, photo: FloatArray) -> FloatArray:
    radius = as_plane(coc_radius, "coc_radius", shape=photo.shape, nan_ok=True)
    with np.errstate(invalid="ignore"):  # NaN
        too_large = np.abs(radius) > _LARGEST_RADIUS
    if too_large.any():
        raise ValueError(f"coc_radius must be within {_LARGEST_RADIUS:g} pixels, got {radius[too_large][0]:g}")
    return fill_unknown(radius, "coc_radius")


def _recovered(photo: FloatArray, radius: FloatArray, *, gain: float, threshold: float) -> FloatArray:
    """Return by how much highlights were brighter, (H, W, 1): 1 up to the threshold and in focus."""
    excess = np.clip((photo.max(axis=2) - threshold) / (1 - threshold), 0, 1)
    blurred = np.clip(np.abs(radius) - _SHARP, 0, 1)  # comes in softly, so that no edge shows at the focal plane
    return np.asarray(1 + (gain - 1) * excess * blurred, np.float32)[..., np.newaxis]
