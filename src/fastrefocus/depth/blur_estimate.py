"""The radius of the blur at every pixel of a photo, by a small network that comes with the package.

The network, how it was trained and on what are in ``training/`` of the source; the file holds the whole estimate, from
grey pixels to radius and confidence.
"""

import threading
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from fastrefocus.arrays import FloatArray, as_image, as_plane
from fastrefocus.checks import choice
from fastrefocus.depth.networks.sessions import Session, open_session, run_session, threads_for
from fastrefocus.depth.resampling import resize_map
from fastrefocus.light import luminance
from fastrefocus.parallel import thread_count

#: Height and width of what the network sees are multiples of this.
_MULTIPLE = 32

#: Pixels of what the network sees: larger photos are halved, for few are sharp to the pixel.
_LONGEST_SIDE = 2048

#: Standard deviation around a pixel, of values 0..1, from which on the confidence counts in full: 1.5 steps of 8 bits.
_LEAST_CONTRAST = 1.5 / 255

#: It is taken over squares of this many samples a side; one sample for so many pixels along each axis.
_CONTRAST_SAMPLES, _SAMPLE_STEP = 9, 4

_opening = threading.Lock()  # so that threads that want the network at once load it once


@dataclass(frozen=True, eq=False)
class BlurEstimate:
    """How far each pixel of a photo is out of focus, as far as the photo tells.

    Parameters
    ----------
    radius : array_like
        (H, W), >= 0, pixels of the photo: the radius of the disk whose standard deviation is that of the blur (for a
        Gaussian, twice sigma). About 0.3 times the scale at which the photo was seen stands for all that is sharper.
        Kept as float32.
    confidence : array_like
        (H, W), 0..1: the estimated probability that the true radius is within half an octave (a factor of 1.4) of
        `radius`. Low where there is no texture. Kept as float32.

    Raises
    ------
    TypeError, ValueError
        If a map is not as above.
    """

    radius: FloatArray
    confidence: FloatArray

    def __post_init__(self) -> None:
        radius = as_plane(self.radius, "radius")
        confidence = as_plane(self.confidence, "confidence", shape=radius.shape)
        if radius.min() < 0:
            raise ValueError(f"radius must be >= 0 (pixels), got {radius.min():g}")
        if confidence.min() < 0 or confidence.max() > 1:
            raise ValueError(f"confidence must be in 0..1, got {confidence.min():g} to {confidence.max():g}")
        object.__setattr__(self, "radius", radius)
        object.__setattr__(self, "confidence", confidence)


def estimate_blur(image: npt.ArrayLike, *, model: str = "builtin", threads: int | None = None) -> BlurEstimate:
    """Estimate the radius of the defocus blur at every pixel of a photo.

    Parameters
    ----------
    image : array_like
        (H, W) or (H, W, 3) RGB; uint8, uint16 or float 0..1, encoded as photos are. Its luminance is clipped to 0..1.
    model : {"builtin"}
        The network that comes with the package; there is no other.
    threads : int, optional
        1 to 1024; None for all CPUs. The result does not depend on it.

    Returns
    -------
    BlurEstimate
        ``radius`` in pixels of the image given, and ``confidence`` 0..1, both (H, W) float32.

    Raises
    ------
    TypeError, ValueError
        If `image`, `model` or `threads` is not as above.

    Notes
    -----
    A network of some 950,000 parameters, trained on generated scenes with radii of 0 to 18 pixels, looks at the photo
    and at its half-size copy, and gives every radius a probability; the two are joined, and ``radius`` is the median,
    averaged over neighbours of like radius. Photos of more than 2048 pixels on the longer side are halved before that,
    once or several times.

    One photo does not say whether a blurred place is before or behind the plane of focus; nor whether what looks
    blurred was smooth to begin with. Surfaces without texture take the answer of their surroundings or a wrong one,
    with low confidence. On a photo that is sharp everywhere the radius is near its least wherever there is texture, and
    says nothing about depth.

    Examples
    --------
    >>> import fastrefocus as fr
    >>> from scipy.ndimage import convolve
    >>> from skimage.data import camera
    >>> photo = camera().astype("float32") / 255
    >>> sharp, blurred = fr.estimate_blur(photo), fr.estimate_blur(convolve(photo, fr.disk_psf(10)))
    >>> float(np.median(sharp.radius)) < 1, 4 < float(np.median(blurred.radius)) < 6
    (True, True)
    """
    pixels = as_image(image)
    choice(model, "model", ("builtin",))
    count = thread_count(threads)
    grey = np.clip(luminance(pixels), 0, 1)
    seen, scale = grey, 1
    while max(seen.shape) > _LONGEST_SIDE:
        seen, scale = _half(seen), 2 * scale
    height, width = seen.shape
    padded = np.pad(seen, ((0, -height % _MULTIPLE), (0, -width % _MULTIPLE)), mode="symmetric")
    with _opening:
        session = _session(threads_for(padded.size, count))
    outputs = run_session(session, ["radius", "confidence"], {"photo": padded[np.newaxis, np.newaxis]}, trusted=True)
    radius, confidence = (output[0, 0, :height, :width] for output in outputs)
    confidence = np.minimum(confidence, 1) * _contrast(seen)  # a sum of probabilities may be rounded to more
    if scale > 1:
        radius, confidence = (resize_map(plane, pixels.shape[:2]) for plane in (scale * radius, confidence))
    return BlurEstimate(radius, confidence)


def _contrast(plane: FloatArray) -> FloatArray:
    """Return 0 where nothing is to be seen for 16 pixels around, 1 where anything is: blank places look blurred."""
    sample = plane[::_SAMPLE_STEP, ::_SAMPLE_STEP]
    mean, power = (uniform_filter(values, _CONTRAST_SAMPLES, mode="nearest") for values in (sample, sample**2))
    deviation = np.sqrt(np.maximum(power - mean**2, 0))
    contrast = np.minimum(deviation / np.float32(_LEAST_CONTRAST), 1)
    enlarged: FloatArray = contrast.repeat(_SAMPLE_STEP, axis=0).repeat(_SAMPLE_STEP, axis=1)
    return enlarged[: plane.shape[0], : plane.shape[1]]


@lru_cache(maxsize=4)
def _session(threads: int) -> Session:
    """Return the network, kept ready; it may be run from several Python threads."""
    return open_session((files("fastrefocus.depth") / "blur.onnx").read_bytes(), threads, trusted=True)


def _half(plane: FloatArray) -> FloatArray:
    """Average 2 x 2 pixels to one; an odd last row or column is repeated."""
    even = np.pad(plane, [(0, length % 2) for length in plane.shape], mode="edge")
    height, width = (length // 2 for length in even.shape)
    half: FloatArray = even.reshape(height, 2, width, 2).mean(axis=(1, 3), dtype=np.float32)
    return half
