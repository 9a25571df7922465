"""The periodic canvas that Fourier-domain deconvolution works on, and how an image is laid on it."""

from dataclasses import dataclass

import numpy as np

from fastrefocus.arrays import FloatArray
from fastrefocus.fft import ComplexArray, RealFFT2, fast_size

BOUNDARIES = ("masked", "reflect", "periodic")

#: Width of the blended seam in widths of the PSF: wide enough that either side's blur has died away at the other.
_SEAM_PSF_WIDTHS = 2


@dataclass(frozen=True)
class Canvas:
    """A periodic canvas of `shape` whose top left corner holds an image of `image_shape`."""

    image_shape: tuple[int, int]
    shape: tuple[int, int]
    reach: tuple[int, int] | None = None
    """How many rows and columns around the image count besides it; None: the whole canvas counts."""

    def counted(self, axis: int) -> FloatArray:
        """Return what total variation counts along an axis, 1 or 0, as (2, size).

        The differences from each row or column to the next, and the rows or columns themselves. What lies beyond the
        image's end is not the neighbour of what lies before its beginning, though they may touch.
        """
        size = self.shape[axis]
        counted = np.ones((2, size), np.float32)
        if self.reach is not None:
            end, begin = self.image_shape[axis] + self.reach[axis], size - self.reach[axis]
            counted[1, end:begin] = 0
            counted[0, end - 1 : begin] = 0
        return counted

    def extend(self, plane: FloatArray) -> FloatArray:
        """Lay an (H, W) plane on the canvas; the rest fades from one border's reflection to the other's."""
        rows = _blend_to_wrap(plane, self.shape[0])
        return np.array(_blend_to_wrap(rows.T, self.shape[1]).T, order="C")  # a new array where nothing is added, too

    def crop(self, plane: FloatArray) -> FloatArray:
        """Take the image out of a canvas (..., H, W) again."""
        return plane[..., : self.image_shape[0], : self.image_shape[1]]

    def otf(self, psf: FloatArray) -> ComplexArray:
        """Return the transfer function of a PSF: its spectrum with the centre pixel at the origin."""
        height, width = psf.shape
        plane = np.zeros(self.shape, np.float32)
        plane[:height, :width] = psf
        centred = np.roll(plane, (-(height // 2), -(width // 2)), axis=(0, 1))
        return RealFFT2(self.shape).forward(centred)


def make_canvas(image_shape: tuple[int, int], psf_shape: tuple[int, int], boundary: str) -> Canvas:
    """Return the canvas for an image, a PSF and a boundary, one of `BOUNDARIES`.

    "masked" leaves room for what the PSF brings in from outside the image: half its width at either border, which
    meet or have pixels between them that nothing is known of, and that do not count.
    """
    if boundary == "periodic":
        return Canvas(image_shape, image_shape)
    if boundary == "masked":
        sizes = [fast_size(n + k - 1) for n, k in zip(image_shape, psf_shape, strict=True)]
        return Canvas(image_shape, (sizes[0], sizes[1]), (psf_shape[0] // 2, psf_shape[1] // 2))
    sizes = [fast_size(n + _SEAM_PSF_WIDTHS * k) for n, k in zip(image_shape, psf_shape, strict=True)]
    return Canvas(image_shape, (sizes[0], sizes[1]))


def _blend_to_wrap(plane: FloatArray, size: int) -> FloatArray:
    """Lengthen axis 0 to `size` so that it can wrap: the end's reflection fades into the beginning's."""
    length = len(plane)
    seam = size - length
    if seam == 0:
        return plane
    after_end = np.pad(plane, ((0, seam), (0, 0)), mode="symmetric")[length:]
    before_start = np.pad(plane, ((seam, 0), (0, 0)), mode="symmetric")[:seam]
    phase = (np.arange(1, seam + 1, dtype=np.float32) / np.float32(seam + 1))[:, np.newaxis]
    weight = np.float32(0.5) + np.float32(0.5) * np.cos(np.float32(np.pi) * phase)
    return np.concatenate([plane, weight * after_end + (1 - weight) * before_start])


def filter_canvas(plane: FloatArray, response: ComplexArray) -> FloatArray:
    """Multiply the spectrum of a whole canvas by a response."""
    transform = RealFFT2((plane.shape[0], plane.shape[1]))
    scale = np.float32(1 / plane.size)

    def change(block: ComplexArray, columns: slice) -> None:
        block *= response[columns] * scale

    transform.input[0] = plane
    transform.filter(change)
    filtered: FloatArray = transform.output[0]
    return filtered
