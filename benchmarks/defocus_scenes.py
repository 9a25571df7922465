"""Scenes with exact geometry, and the photographs that a lens takes of them.

A scene is a list of textured planes, nearest first. Under a pinhole the inverse depth of a plane is affine in picture
coordinates, and so is the signed radius of its circle of confusion: r(x) = a + g . x. A lens adds up what it sees from
each point u of its aperture, a unit disk; from there the point x of a plane is seen at p = x - r(x) u. This is solved
for x in closed form, so that nothing is approximated but the integrals over the aperture and over the pixel, which are
sums. A plane goes on behind the outlines of nearer ones and beyond the picture: what the photo does not show is known.

Points are (x, y) in pixels, x to the right and y down, (0, 0) the centre of the first pixel. Textures are photos that
scikit-image carries in its package, in linear light.
"""

import functools
import hashlib
import inspect
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import skimage.data
from scipy.ndimage import distance_transform_edt

from fastrefocus.light import decode, encode
from fastrefocus.samples import SAMPLES, load_sample

HEIGHT, WIDTH = 480, 640
PHOTO_SUBSAMPLES = 6  # along each axis of a pixel
CACHE = Path(__file__).parent / "out" / "defocus_scenes"

_kernel = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=True)
_EVERYWHERE, _CONVEX, _STAR, _BARS = range(4)


@dataclass(frozen=True)
class Outline:
    """Where a surface is, seen through a pinhole; made by the functions below."""

    kind: int
    numbers: np.ndarray  # float64 (n, 3)


@dataclass(frozen=True)
class Surface:
    """A textured plane."""

    radius: tuple[float, float, float]  # a, g_x, g_y of the signed circle of confusion, in units of any size
    outline: Outline
    texture: np.ndarray  # float32 (h, w, 3), linear light; bilinear, mirrored outside
    to_texture: np.ndarray  # float64 (3, 3), from homogeneous picture coordinates to the texture's


@dataclass(frozen=True)
class Scene:
    """Surfaces, nearest first; `hides_background`: one in front of the focal plane and out of focus hides another."""

    name: str
    hides_background: bool
    surfaces: tuple[Surface, ...]
    samples: int = 1024  # of the aperture, that leave the truth an error below -50 dB at a radius of 20

    def photo(self) -> np.ndarray:
        """Return the picture that is sharp everywhere, through a pinhole: (H, W, 3) float32, encoded."""
        ticks = (np.arange(PHOTO_SUBSAMPLES) + 0.5) / PHOTO_SUBSAMPLES - 0.5
        offsets = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
        return self._seen_from(np.zeros_like(offsets), offsets, 0.0)

    def coc(self, max_radius: float) -> np.ndarray:
        """Return the signed radius at the pixels' centres, (H, W) float32, scaled until the largest is `max_radius`."""
        radius = self._radius_in_own_units()
        return (radius * (max_radius / np.abs(radius).max())).astype(np.float32)

    def expose(self, max_radius: float, samples: int) -> np.ndarray:
        """Return the photograph through a round aperture, (H, W, 3) float32, encoded."""
        return self._seen_from(*aperture_samples(samples), max_radius / np.abs(self._radius_in_own_units()).max())

    def truth(self, max_radius: float, samples: int | None = None) -> np.ndarray:
        """Return the photograph through a round aperture, as `expose` does; kept on disk until the scene changes."""
        samples = samples or self.samples
        key = self._key()
        file = CACHE / f"{self.name.replace(' ', '_')}_{max_radius:g}_{samples}.npz"
        if file.exists():
            with np.load(file) as kept:
                if kept["key"] == key:
                    return kept["picture"]
        picture = self.expose(max_radius, samples)
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(f".{os.getpid()}.npz")
        np.savez(unfinished, key=key, picture=picture)
        unfinished.replace(file)
        return picture

    def near_edges(self, max_radius: float) -> np.ndarray:
        """Return where a jump of more than a pixel of radius is within reach of the blur, (H, W) bool."""
        radius = self.coc(max_radius)
        jump = np.zeros(radius.shape, bool)
        jump[1:] |= np.abs(np.diff(radius, axis=0)) > 1
        jump[:, 1:] |= np.abs(np.diff(radius, axis=1)) > 1
        return distance_transform_edt(~jump) <= max(4, max_radius) if jump.any() else jump

    def _key(self) -> str:
        """Return a digest of all that the truth depends on: the surfaces and the source of what renders them."""
        renderer = (Scene._seen_from, aperture_samples, _shade.py_func, _add_texel.py_func, _mirrored.py_func)
        source = [inspect.getsource(part) for part in (*renderer, _inside.py_func)]
        return hashlib.sha256(pickle.dumps((self.surfaces, HEIGHT, WIDTH, source))).hexdigest()

    def _radius_in_own_units(self) -> np.ndarray:
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        radius = np.empty((HEIGHT, WIDTH))
        for surface in reversed(self.surfaces):
            seen = _inside_map(HEIGHT, WIDTH, surface.outline.kind, surface.outline.numbers)
            a, g_x, g_y = surface.radius
            radius[seen] = (a + g_x * x + g_y * y)[seen]
        return radius

    def _seen_from(self, apertures: np.ndarray, offsets: np.ndarray, scale: float) -> np.ndarray:
        """Return the mean light over pairs of a point in the aperture and one in the pixel, encoded."""
        total = np.zeros((HEIGHT, WIDTH, 3))
        for u, offset in zip(apertures, offsets, strict=True):
            free = np.ones((HEIGHT, WIDTH), bool)
            for surface in self.surfaces:
                radius = tuple(scale * part for part in surface.radius)
                outline = surface.outline
                _shade(
                    total, free, u, offset, radius, outline.kind, outline.numbers, surface.texture, surface.to_texture
                )
        return encode((total / len(apertures)).astype(np.float32))


def aperture_samples(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points of the unit disk (a sunflower) and of a pixel (an additive sequence), (count, 2) each."""
    k = np.arange(count)
    golden = (np.sqrt(5) - 1) / 2
    distance, angle = np.sqrt((k + 0.5) / count), 2 * np.pi * golden * k
    plastic = 1.32471795724474602596  # the root of x^3 = x + 1; its powers fill the square evenly
    offsets = np.stack([k / plastic, k / plastic**2], axis=1) % 1 - 0.5
    return distance[:, np.newaxis] * np.stack([np.cos(angle), np.sin(angle)], axis=1), offsets


@_kernel
def _shade(total, free, u, offset, radius, kind, numbers, texture, to_texture):
    """Add a surface's light, seen from the aperture's point u, to the pixels that nearer surfaces left free."""
    a, g_x, g_y = radius
    u_x, u_y = u
    gain = 1 / (1 - g_x * u_x - g_y * u_y)
    for row in range(free.shape[0]):
        for column in range(free.shape[1]):
            if free[row, column]:
                x = column + offset[0] + a * u_x
                y = row + offset[1] + a * u_y
                slope = gain * (g_x * x + g_y * y)
                x += slope * u_x
                y += slope * u_y
                if _inside(kind, numbers, x, y):
                    free[row, column] = False
                    _add_texel(total, row, column, texture, to_texture, x, y)


@_kernel
def _add_texel(total, row, column, texture, to_texture, x, y):
    weight = 1 / (to_texture[2, 0] * x + to_texture[2, 1] * y + to_texture[2, 2])
    s = weight * (to_texture[0, 0] * x + to_texture[0, 1] * y + to_texture[0, 2])
    t = weight * (to_texture[1, 0] * x + to_texture[1, 1] * y + to_texture[1, 2])
    left, top = int(np.floor(s)), int(np.floor(t))
    s, t = s - left, t - top
    left, right = _mirrored(left, texture.shape[1]), _mirrored(left + 1, texture.shape[1])
    top, bottom = _mirrored(top, texture.shape[0]), _mirrored(top + 1, texture.shape[0])
    for channel in range(3):
        upper = (1 - s) * texture[top, left, channel] + s * texture[top, right, channel]
        lower = (1 - s) * texture[bottom, left, channel] + s * texture[bottom, right, channel]
        total[row, column, channel] += (1 - t) * upper + t * lower


@_kernel
def _mirrored(index, size):
    if index < 0 or index >= size:
        index %= 2 * size
        index = min(index, 2 * size - 1 - index)
    return np.uint64(index)  # without a sign, Numba need not look for indices from the end


@_kernel
def _inside(kind, numbers, x, y):
    if kind == _CONVEX:
        for i in range(len(numbers)):  # noqa: SIM110 - Numba compiles this to faster code than all()
            if numbers[i, 0] * x + numbers[i, 1] * y + numbers[i, 2] < 0:
                return False
        return True
    if kind == _BARS:
        for i in range(0, len(numbers), 2):
            across = numbers[i, 0] * x + numbers[i, 1] * y + numbers[i, 2]  # in periods
            if across - np.floor(across) < numbers[i + 1, 0]:
                return True
        return False
    if kind == _STAR:
        x, y = x - numbers[0, 0], y - numbers[0, 1]
        squared = x * x + y * y
        if squared < numbers[1, 0] or squared > numbers[1, 1]:
            return squared < numbers[1, 0]
        angle = np.arctan2(y, x) * ((len(numbers) - 1) / (2 * np.pi))
        if angle < 0:
            angle += len(numbers) - 1
        i = min(int(angle), len(numbers) - 2)
        limit = numbers[i, 2] + (angle - i) * (numbers[i + 1, 2] - numbers[i, 2])
        return squared < limit * limit
    return True


@_kernel
def _inside_map(height, width, kind, numbers):
    inside = np.empty((height, width), np.bool_)
    for row in range(height):
        for column in range(width):
            inside[row, column] = _inside(kind, numbers, column, row)
    return inside


EVERYWHERE = Outline(_EVERYWHERE, np.zeros((0, 3)))


def convex(*half_planes: tuple[float, float, float]) -> Outline:
    """Return the outline where a x + b y + c >= 0 for each (a, b, c)."""
    return Outline(_CONVEX, np.array(half_planes, float))


def bars(*families: tuple[float, float, float, float]) -> Outline:
    """Return parallel bars; a family is the angle of their normal in degrees, an offset, their spacing, their width."""
    rows = []
    for angle, offset, spacing, width in families:
        across = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle)), offset])
        rows += [across / spacing, (width / spacing, 0, 0)]
    return Outline(_BARS, np.array(rows, float))


def star(centre: tuple[float, float], radius: float, *, seed: int, corners: int = 720, smooth: float = 1.2) -> Outline:
    """Return an irregular outline around a centre; its radius is a random curve with detail at every scale."""
    waves = np.arange(1, corners // 2)
    random = np.random.default_rng(seed)
    spectrum = np.zeros(corners // 2 + 1, complex)
    spectrum[1 : corners // 2] = random.normal(size=(2, len(waves))).T @ [1, 1j] / (1 + waves) ** smooth
    curve = np.fft.irfft(spectrum, corners)
    curve = radius * np.exp(0.18 * curve / curve.std())
    rows = np.zeros((corners + 1, 3))
    rows[:, 2] = np.append(curve, curve[0])
    rows[0, :2] = centre
    rows[1, :2] = curve.min() ** 2, curve.max() ** 2
    return Outline(_STAR, rows)


def placed(scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Return the texture coordinates of a plane parallel to the sensor; `scale`: texels to a pixel."""
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1.0]])


def texture(name: str, tint: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    """Return a photo of scikit-image's package, linear light times a tint, (h, w, 3) float32."""
    pixels = load_sample(name).pixels if name in SAMPLES else np.float32(getattr(skimage.data, name)() / 255)
    light = decode(pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1))
    return np.ascontiguousarray(light * np.float32(tint))


def with_lamps(light: np.ndarray, *, count: int, seed: int) -> np.ndarray:
    """Return linear light with small bright disks, 10 to 40 times white, on it."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]].astype(np.float32)
    result = light.copy()
    for _ in range(count):
        centre = random.uniform((0, 0), (light.shape[1], light.shape[0]))
        colour = random.uniform(10, 40) * random.uniform((0.9, 0.6, 0.3), (1, 0.9, 0.9))
        distance = np.hypot(x - centre[0], y - centre[1])
        cover = np.clip(random.uniform(1, 3) + 0.5 - distance, 0, 1)[..., np.newaxis]
        result = result * (1 - cover) + cover * np.float32(colour)
    return result.astype(np.float32)


def _subject_sharp() -> Scene:
    subject = Surface((0, 0, 0), star((310, 260), 165, seed=3), texture("astronaut"), placed(1.1, (-130, -90)))
    background = Surface((1, 0, 0), EVERYWHERE, texture("coffee"), placed(0.9))
    return Scene("subject sharp", False, (subject, background))


def _background_sharp() -> Scene:
    near = Surface((-1, 0, 0), star((250, 280), 130, seed=8), texture("chelsea"), placed(0.9, (-40, -80)))
    background = Surface((0, 0, 0), EVERYWHERE, texture("astronaut"), placed(0.8, (0, 30)))
    return Scene("background sharp", True, (near, background))


def _slanted_ground() -> Scene:
    """A ground with its horizon above the picture, a wall where it ends, and two boards that stand on it."""
    horizon, focal_length, wall, foot, far_foot = -200, 680, 150, 330, 230

    def on_ground(row: float) -> tuple[float, float, float]:
        return (foot - row, 0, 0)

    texels = 480 - horizon  # a texel to a pixel at the picture's lower border
    to_ground = np.array([[texels, 0, -320 * texels], [0, 0, focal_length * texels], [0, 1, -horizon]], float)
    ground = Surface((foot, 0, -1), convex((0, 1, -wall)), texture("gravel", (1, 0.85, 0.7)), to_ground)
    board = convex((0, -1, foot), (1, 0, -90), (-1, 0.1, 270), (0.12, 1, -85))
    far_board = convex((0, -1, far_foot), (1, 0.05, -390), (-1, 0.05, 540), (-0.1, 1, 15))
    boards = (
        Surface(on_ground(foot), board, texture("chelsea"), placed(1.1, (0, -60))),
        Surface(on_ground(far_foot), far_board, texture("astronaut"), placed(1.2, (-360, -20))),
    )
    back = Surface(on_ground(wall), EVERYWHERE, texture("brick", (0.9, 0.5, 0.4)), placed(1.2))
    return Scene("slanted ground", False, (*boards, ground, back))


def _fence(name: str, *, sharp: bool) -> Scene:
    """Bars of 3 to 6 pixels; what lies behind is a plane that turns away from the camera."""
    outline = bars((45, 0, 58, 4), (-45, 0, 58, 4), (90, -60, 1000, 6), (90, -420, 1000, 6), (0, -130, 310, 3))
    fence = Surface((0, 0, 0) if sharp else (-1, 0, 0), outline, texture("brick", (0.5, 0.55, 0.6)), placed())
    behind = (0.6, 0.4 / WIDTH, 0) if sharp else (0, 0, 0)
    background = Surface(behind, EVERYWHERE, texture("coffee"), placed(0.9, (10, 0)))
    return Scene(name, not sharp, (fence, background))


def _bright_points() -> Scene:
    subject = Surface((0, 0, 0), star((200, 330), 130, seed=5), texture("chelsea"), placed(1, (30, -150)))
    lights = with_lamps(texture("rocket", (0.3, 0.3, 0.4)), count=60, seed=1)
    background = Surface((1, 0, 0), EVERYWHERE, lights, placed())
    return Scene("bright points", False, (subject, background), samples=8192)


def _three_layers() -> Scene:
    near = Surface((-0.8, 0, 0), star((90, 380), 110, seed=11), texture("grass", (0.7, 1, 0.4)), placed(1.2))
    subject = Surface((0, 0, 0), star((360, 270), 140, seed=4), texture("camera", (1, 0.9, 0.8)), placed(1, (-90, -50)))
    background = Surface((1, 0, 0), EVERYWHERE, texture("astronaut"), placed(0.8, (60, 20)))
    return Scene("three layers", True, (near, subject, background))


SCENES: dict[str, Callable[[], Scene]] = {
    "subject sharp": _subject_sharp,
    "background sharp": _background_sharp,
    "slanted ground": _slanted_ground,
    "sharp fence": lambda: _fence("sharp fence", sharp=True),
    "blurred fence": lambda: _fence("blurred fence", sharp=False),
    "bright points": _bright_points,
    "three layers": _three_layers,
}


@functools.cache
def load_scene(name: str) -> Scene:
    """Return the scene of that name, one of `SCENES`."""
    return SCENES[name]()
