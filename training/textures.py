"""Surfaces that are sharp to the pixel: free photos, reduced until they are sharp, and drawn ones.

Every function takes a random generator and returns float32 (SIZE, SIZE), encoded values 0..1.
"""

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
import skimage.data

Plane = npt.NDArray[np.float32]
Random = np.random.Generator

#: Side of a canvas, pixels: a scene, and a margin of more than the largest radius on each side.
SIZE = 224

#: scikit-image's sample photos in the public domain or under CC0.
PHOTOS = (
    "astronaut",
    "brick",
    "camera",
    "chelsea",
    "coffee",
    "grass",
    "gravel",
    "hubble_deep_field",
    "retina",
    "rocket",
)

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.,:;!?"
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
)
_FINE = 2  # drawn shapes are this many times as large first, for smooth edges


def draw_texture(random: Random) -> Plane:
    """Return a surface of any kind, with any contrast; sometimes two, side by side or on top of each other."""
    texture = _draw_one(random)
    if random.random() < 0.3:
        share = draw_shapes(random, int(random.integers(1, 6))) if random.random() < 0.6 else np.float32(0.5)
        texture = share * texture + (1 - share) * _draw_one(random)
    contrast = np.float32(10 ** random.uniform(-0.9, 0.1))
    level = np.float32(random.uniform(0.15, 0.85))
    texture = level + contrast * (texture - texture.mean())
    if random.random() < 0.4:
        texture = texture + np.float32(random.uniform(0.05, 0.4)) * (_ramp(random) - 0.5)
    return np.clip(texture, 0.01, 1).astype(np.float32)


def draw_shapes(random: Random, count: int) -> Plane:
    """Return a mask of `count` shapes, whose edges cover a pixel by halves: blobs, boxes, bars and branches."""
    fine = np.zeros((_FINE * SIZE, _FINE * SIZE), np.uint8)
    for _ in range(count):
        _draw_shape(random, fine, float(10 ** random.uniform(-1.5, -0.35)), 255)
    return _reduce(fine)


def draw_thin(random: Random) -> Plane:
    """Return a mask of branches, wires or a grid, 2 to 14 pixels wide."""
    fine = np.zeros((_FINE * SIZE, _FINE * SIZE), np.uint8)
    width = int(_FINE * random.uniform(2, 14))
    if random.random() < 0.3:
        pitch = int(_FINE * random.uniform(15, 60)) + width
        for offset in range(int(random.integers(pitch)), 2 * len(fine), pitch):
            lean = int(random.integers(-20, 20))
            cv2.line(fine, (offset, 0), (offset + lean, len(fine)), 255, width)
            cv2.line(fine, (0, offset), (len(fine), offset + lean), 255, width)
        return _reduce(fine)
    for _ in range(int(random.integers(1, 7))):
        cv2.polylines(fine, [_curve(random, float(random.uniform(0.2, 0.7)))], False, 255, width, cv2.LINE_AA)
    return _reduce(fine)


def _draw_one(random: Random) -> Plane:
    kinds = (_photo, _fractal, _leaves, _text, _stripes, _sparse, _ramp)
    kind = kinds[random.choice(len(kinds), p=(0.27, 0.12, 0.22, 0.12, 0.07, 0.15, 0.05))]
    return kind(random)


@cache
def _photos() -> list[npt.NDArray[np.uint8]]:
    photos = []
    for name in PHOTOS:
        photo = getattr(skimage.data, name)()
        photos.append(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY) if photo.ndim == 3 else photo)
    return photos


def _photo(random: Random) -> Plane:
    photo = _photos()[random.integers(len(PHOTOS))]
    scale = random.uniform(0.3, 0.6)
    side = min(round(SIZE / scale), *photo.shape)
    top, left = (int(random.integers(length - side + 1)) for length in photo.shape)
    reduced = cv2.resize(
        photo[top : top + side, left : left + side], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    )
    missing = max(SIZE - len(reduced), 0)
    reduced = np.pad(reduced, ((0, missing), (0, missing)), mode="symmetric")[:SIZE, :SIZE]
    turned = np.rot90(reduced, random.integers(4))
    return np.float32(1 / 255) * (turned[:, ::-1] if random.random() < 0.5 else turned)


def _fractal(random: Random) -> Plane:
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, np.newaxis], np.fft.rfftfreq(SIZE))
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(random.standard_normal((SIZE, SIZE))) * frequency ** -random.uniform(0.6, 1.7)
    noise = np.fft.irfft2(spectrum)
    return np.clip(0.5 + 0.25 * noise / noise.std(), 0, 1).astype(np.float32)


def _leaves(random: Random) -> Plane:
    """Dead leaves: opaque shapes whose sizes follow a power law, as in pictures of nature."""
    fine = np.full((_FINE * SIZE, _FINE * SIZE), random.integers(256), np.uint8)
    for size in 0.012 * (1 - random.random(int(random.integers(60, 400)))) ** -0.6:
        _draw_shape(random, fine, min(size, 0.4), int(random.integers(256)))
    leaves = _reduce(fine)
    if random.random() < 0.5:
        leaves = leaves + np.float32(random.uniform(0.02, 0.3)) * (_fractal(random) - 0.5)
    return leaves


def _sparse(random: Random) -> Plane:
    """Few shapes on an even ground, often with soft shadows: packages, walls, faces."""
    fine = np.full((_FINE * SIZE, _FINE * SIZE), random.integers(256), np.uint8)
    for _ in range(int(random.integers(1, 12))):
        _draw_shape(random, fine, float(10 ** random.uniform(-1.6, -0.4)), int(random.integers(256)))
    shapes = _reduce(fine)
    if random.random() < 0.5:
        shapes = shapes * (1 - np.float32(random.uniform(0.1, 0.9)) * np.clip(_ramp(random), 0, 1))
    return shapes


def _text(random: Random) -> Plane:
    fine = np.full((_FINE * SIZE, _FINE * SIZE), random.integers(120, 256), np.uint8)
    font = _FONTS[random.integers(len(_FONTS))]
    scale = _FINE * 10 ** random.uniform(-0.6, 0.5)
    thickness = max(1, round(scale * random.uniform(0.8, 3)))
    ink = int(random.integers(256))
    line = round(scale * random.uniform(26, 50))
    for bottom in range(int(random.integers(line)), len(fine) + line, line):
        letters = "".join(random.choice(list(_LETTERS + 12 * " "), int(random.integers(3, 60))))
        if random.random() < 0.25:
            ink = int(random.integers(256))
        cv2.putText(fine, letters, (int(random.integers(-50, 100)), bottom), font, scale, ink, thickness, cv2.LINE_AA)
    turned = np.rot90(fine) if random.random() < 0.2 else fine
    return _reduce(np.ascontiguousarray(turned))


def _stripes(random: Random) -> Plane:
    """Stripes or checks of any direction and profile, bent a little."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    waves = []
    for _ in range(int(random.integers(1, 3))):
        angle, period = random.uniform(0, np.pi), 10 ** random.uniform(0.5, 1.7)
        bend = 0.15 * np.sin(2 * np.pi * (x * random.uniform(-1, 1) + y * random.uniform(-1, 1)) / SIZE)
        phase = (x * np.cos(angle) + y * np.sin(angle)) / period + bend + random.random()
        steepness = 10 ** random.uniform(0, np.log10(max(period / 2, 1.1)))
        waves.append(np.clip(0.5 + 0.5 * steepness * np.sin(2 * np.pi * phase), 0, 1))
    return np.prod(waves, axis=0).astype(np.float32)


def _ramp(random: Random) -> Plane:
    """Return a smooth surface: nothing on it tells how blurred it is."""
    grid = random.random((int(random.integers(2, 5)), int(random.integers(2, 5)))).astype(np.float32)
    return cv2.resize(grid, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)


def _reduce(fine: npt.NDArray[np.uint8]) -> Plane:
    return cv2.resize(fine, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)


def _draw_shape(random: Random, fine: npt.NDArray[np.uint8], size: float, value: int) -> None:
    """Draw one filled shape; `size` is its radius in parts of the canvas."""
    side = len(fine)
    centre = random.uniform(0, side, 2)
    radius = size * side
    kind = random.random()
    if kind < 0.35:
        axes = (max(1, int(radius)), max(1, int(radius * random.uniform(0.3, 1))))
        cv2.ellipse(fine, (int(centre[0]), int(centre[1])), axes, random.uniform(0, 180), 0, 360, value, -1)
        return
    if kind < 0.7:
        angles = random.uniform(0, 2 * np.pi) + np.array([0.7, np.pi - 0.7, np.pi + 0.7, -0.7]) * random.uniform(
            0.5, 1.4
        )
        reach = radius
    else:
        angles = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(3, 14))))
        reach = radius * random.uniform(0.5, 1.3, angles.size)
    corners = centre + (reach * np.stack([np.cos(angles), np.sin(angles)])).T
    cv2.fillPoly(fine, [corners.astype(np.int32)], value)


def _curve(random: Random, reach: float) -> npt.NDArray[np.int32]:
    side = _FINE * SIZE
    t = np.linspace(0, 1, 24)[:, np.newaxis]
    start, middle, end = random.uniform(-0.1, 1.1, (3, 2)) * side
    middle = (start + end) / 2 + (middle - side / 2) * reach
    return ((1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end).astype(np.int32)
