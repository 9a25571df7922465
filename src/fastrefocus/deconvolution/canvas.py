"""The periodic canvas that Fourier-domain deconvolution works on, and how an image is laid on it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastrefocus.arrays import FloatArray
from fastrefocus.fft import ComplexArray, RealFFT2, fast_size

BOUNDARIES = ("reflect", "periodic")

#: Width of the blended seam in widths of the PSF: wide enough that either side's blur has died away at the other.
_SEAM_PSF_WIDTHS = 2


@dataclass(frozen=True)
class Canvas:
    """A periodic canvas of `shape` whose top left corner holds an image of `image_shape`."""

    image_shape: tuple[int, int]
    shape: tuple[int, int]

    def extend(self, plane: FloatArray) -> FloatArray:
        """Lay an (H, W) plane on the canvas; the rest fades from one border's reflection to the other's."""
        rows = _blend_to_wrap(plane, self.shape[0])
        return np.ascontiguousarray(_blend_to_wrap(rows.T, self.shape[1]).T)

    def crop(self, plane: FloatArray) -> FloatArray:
        """Take the image out of the canvas again."""
        return plane[: self.image_shape[0], : self.image_shape[1]]

    def otf(self, psf: FloatArray) -> ComplexArray:
        """Return the transfer function of a PSF: its spectrum with the centre pixel at the origin."""
        height, width = psf.shape
        plane = np.zeros(self.shape, np.float32)
        plane[:height, :width] = psf
        centred = np.roll(plane, (-(height // 2), -(width // 2)), axis=(0, 1))
        return RealFFT2(self.shape).forward(centred)


def make_canvas(image_shape: tuple[int, int], psf_shape: tuple[int, int], boundary: str) -> Canvas:
    """Return the canvas for an image, a PSF and a boundary, "periodic" or "reflect"."""
    if boundary == "periodic":
        return Canvas(image_shape, image_shape)
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


def apply_filter(canvas: Canvas, plane: FloatArray, change: Callable[[ComplexArray, slice], None]) -> FloatArray:
    """Lay a plane on the canvas, let `change` filter its spectrum (and divide by its size), and crop the result."""
    transform = RealFFT2(canvas.shape)
    transform.input[...] = canvas.extend(plane)
    transform.filter(change)
    return canvas.crop(transform.output)
