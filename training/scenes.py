"""Photos of generated scenes, with the radius of the blur at every place.

A scene is a background and up to three surfaces before it, upright or slanted, each with its own signed radius of
the circle of confusion: positive behind the plane of focus, negative before it. They are blurred in linear light,
each together with its mask, and put over one another from far to near, so that blurred foregrounds let the
background through. A camera then adds its own softness, noise, sharpening and JPEG.
"""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import scipy.fft
from textures import SIZE, Plane, Random, draw_shapes, draw_texture, draw_thin

from fastrefocus import disk_psf, gaussian_psf, polygon_psf
from fastrefocus.light import decode, encode

#: Side of a training photo, pixels.
CROP = 176

#: One truth for each cell of this many pixels on each side.
CELL = 4

#: Pixels; somewhat more than the 15 that are promised, so that these are not at the end of the scale.
LARGEST_RADIUS = 18.0

_SLICE = 1.0  # pixels of radius from one slice of a slanted surface to the next, at least
_SHARP = 0.35  # pixels: a smaller radius blurs nothing


class Scene(NamedTuple):
    """A photo and its truth."""

    photo: np.ndarray
    """uint8 (CROP, CROP), encoded grey."""
    radius: np.ndarray
    """float16 (CROP / CELL, CROP / CELL), pixels of the disk with the same standard deviation."""
    weight: np.ndarray
    """float16, as `radius`: 0 where a cell holds several radii, 1/4 where a blurred edge hides what lies behind it."""


class Lens(NamedTuple):
    """The shape of the blur in one photo."""

    shape: str
    blades: int
    rotation: float
    softness: float  # of the disk's rim, in parts of the radius

    def transfer(self, radius: float) -> np.ndarray:
        """Return the Fourier transform of the blur, on the canvas."""
        return _transfer(self, round(8 * radius) / 8)


def make_scene(seed: tuple[int, ...]) -> Scene:
    """Return the scene of a seed."""
    random = np.random.default_rng(seed)
    lens = _draw_lens(random)
    ends = _draw_radii(random)
    light = np.zeros((SIZE, SIZE), np.float32)
    radius = np.zeros((SIZE, SIZE), np.float32)
    doubt = np.zeros((SIZE, SIZE), bool)
    for index, (start, end) in enumerate(ends):
        mask = np.ones((SIZE, SIZE), np.float32) if index == 0 else _draw_mask(random)
        signed = start + (end - start) * _direction(random)
        colour, cover = _blur(decode(_lit(draw_texture(random), random)), mask, signed, lens)
        light = colour + (1 - cover) * light
        inside = mask > 0.5
        radius = np.where(inside, np.abs(signed), radius)
        doubt = (doubt | (cover > 0.15)) & ~inside
    margin = (SIZE - CROP) // 2
    window = slice(margin, margin + CROP)
    photo = _photograph(light[window, window], random)
    return Scene(photo, *_truth(radius[window, window], doubt[window, window]))


def _draw_lens(random: Random) -> Lens:
    shape = ("disk", "polygon", "gaussian")[random.choice(3, p=(0.55, 0.2, 0.25))]
    # Coarsely, for transforms of polygons are kept.
    rotation = float(random.integers(4)) * np.pi / 16
    return Lens(shape, int(random.integers(5, 9)), rotation, float(random.choice([0.0, 0.15, 0.3])))


def _draw_radii(random: Random) -> list[tuple[float, float]]:
    """Return the signed radii at both ends of each surface, from far to near.

    In focus one time in six; otherwise every octave, and so the large ones, as often as every other.
    """
    count = 1 + int(random.choice(4, p=(0.25, 0.4, 0.25, 0.1)))
    octaves = random.uniform(np.log2(_SHARP), np.log2(LARGEST_RADIUS), count)
    sizes = np.where(random.random(count) < 0.3, random.uniform(0, LARGEST_RADIUS, count), 2**octaves)
    sizes = np.where(random.random(count) < 1 / 6, random.uniform(0, _SHARP, count), sizes)
    middles = np.sort(sizes * random.choice([-1, 1], count))[::-1]
    slants = np.where(random.random(count) < 0.25, random.uniform(-0.4, 0.4, count) * LARGEST_RADIUS, 0.0)
    ends = np.clip([middles - slants, middles + slants], -LARGEST_RADIUS, LARGEST_RADIUS)
    return [(float(start), float(end)) for start, end in ends.T]


def _direction(random: Random) -> Plane:
    """Return a plane that rises from 0 to 1 across the canvas, in any direction."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) / np.float32(SIZE - 1) - np.float32(0.5)
    angle = random.uniform(0, 2 * np.pi)
    across = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    return np.float32(0.5) + across / np.float32(abs(np.cos(angle)) + abs(np.sin(angle)))


def _draw_mask(random: Random) -> Plane:
    """Return where a surface before the background is."""
    kind = random.random()
    if kind < 0.35:
        return draw_thin(random)
    if kind < 0.7:
        return draw_shapes(random, int(random.integers(1, 5)))
    # All on one side of a bent edge.
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) / np.float32(SIZE) - np.float32(0.5)
    angle = random.uniform(0, 2 * np.pi)
    across = x * np.cos(angle) + y * np.sin(angle) + random.uniform(-0.3, 0.3)
    along = y * np.cos(angle) - x * np.sin(angle)
    bent = across + random.uniform(0, 0.15) * np.sin(along * random.uniform(2, 12) + random.uniform(0, 6))
    return np.clip(bent * SIZE + 0.5, 0, 1).astype(np.float32)


def _lit(texture: Plane, random: Random) -> Plane:
    """Darken a surface, or set small lights on it that the camera will clip."""
    if random.random() < 0.08:
        lights = random.integers(0, SIZE, (int(random.integers(1, 12)), 2))
        texture = texture.copy()
        texture[lights[:, 0], lights[:, 1]] = random.uniform(1, 8)
    return texture * np.float32(random.uniform(0.5, 1))


def _blur(colour: Plane, mask: Plane, signed: Plane, lens: Lens) -> tuple[Plane, Plane]:
    """Return the blurred light of a surface and its blurred mask.

    A slanted surface is a stack of slices, and each pixel lies between two of them.
    """
    spectrum = scipy.fft.rfft2(np.stack([colour * mask, mask]), workers=1)
    low, high = float(signed.min()), float(signed.max())
    count = 1 if high - low < 0.1 else 2 + int((high - low) / _SLICE)
    stack = []
    for radius in np.linspace(low, high, count):
        transfer = lens.transfer(min(abs(float(radius)), LARGEST_RADIUS))
        stack.append(scipy.fft.irfft2(spectrum * transfer, s=mask.shape, workers=1))
    position = (signed - low) * np.float32((count - 1) / max(high - low, _SLICE))
    result = sum(np.maximum(1 - np.abs(position - index), 0) * blurred for index, blurred in enumerate(stack))
    return result[0], np.clip(result[1], 0, 1)


@lru_cache(maxsize=4096)
def _transfer(lens: Lens, radius: float) -> np.ndarray:
    if radius < _SHARP:
        return np.ones((SIZE, SIZE // 2 + 1), np.float32)
    if lens.shape == "gaussian":
        psf = gaussian_psf(radius / 2)  # the standard deviation of a disk along one axis
    elif lens.shape == "polygon":
        # Of the disk's area.
        corners = 2 * np.pi / lens.blades
        psf = polygon_psf(2 * radius * np.sqrt(corners / np.sin(corners)), blades=lens.blades, rotation=lens.rotation)
    else:
        psf = disk_psf(2 * radius)
    canvas = np.zeros((SIZE, SIZE), np.float32)
    canvas[: len(psf), : len(psf)] = psf
    canvas = np.roll(canvas, (-(len(psf) // 2), -(len(psf) // 2)), (0, 1))
    transfer = scipy.fft.rfft2(canvas)
    if lens.shape != "gaussian" and lens.softness > 0:
        squared = np.fft.fftfreq(SIZE)[:, np.newaxis] ** 2 + np.fft.rfftfreq(SIZE) ** 2
        transfer = transfer * np.exp(-2 * (np.pi * lens.softness * radius) ** 2 * squared).astype(np.float32)
    return transfer.astype(np.complex64)


def _photograph(light: Plane, random: Random) -> np.ndarray:
    """Return what a camera stores of the light: its own softness, noise, tone, sharpening and JPEG."""
    light = cv2.GaussianBlur(light, (0, 0), random.uniform(0.2, 0.75))
    light = np.clip(light * np.float32(random.uniform(0.6, 1.6)), 0, 1)
    read, shot = 10 ** random.uniform(-8, -4, 2)
    noise = random.standard_normal(light.shape, np.float32) * np.sqrt(np.float32(read) + np.float32(shot) * light)
    if random.random() < 0.5:
        noise = cv2.GaussianBlur(noise, (0, 0), random.uniform(0.3, 1.0))
    encoded = np.clip(encode(np.maximum(light + noise, 0).astype(np.float32)), 0, 1)
    encoded = encoded ** np.float32(10 ** random.uniform(-0.15, 0.15))
    if random.random() < 0.35:
        soft = cv2.GaussianBlur(encoded, (0, 0), random.uniform(0.6, 1.2))
        encoded = encoded + np.float32(random.uniform(0.2, 1.0)) * (encoded - soft)
    photo = np.rint(255 * np.clip(encoded, 0, 1)).astype(np.uint8)
    if random.random() < 0.6:
        _, jpeg = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(55, 99))])
        photo = cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE)
    return photo


def _truth(radius: Plane, doubt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cells = (
        radius.reshape(CROP // CELL, CELL, CROP // CELL, CELL).swapaxes(1, 2).reshape(CROP // CELL, CROP // CELL, -1)
    )
    doubtful = doubt.reshape(CROP // CELL, CELL, CROP // CELL, CELL).mean(axis=(1, 3)) > 0.25
    spread = cells.max(axis=-1) - cells.min(axis=-1)
    weight = np.where(spread > 0.3 + 0.15 * cells.mean(axis=-1), 0, np.where(doubtful, 0.25, 1))
    return np.median(cells, axis=-1).astype(np.float16), weight.astype(np.float16)
