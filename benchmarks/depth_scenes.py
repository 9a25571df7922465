"""Photos for depth.py, found by listing folders, and what is known of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve
from scipy.stats import rankdata

import fastrefocus as fr
from fastrefocus.light import decode, encode

#: Pixels of radius for a step of the defocus maps of half-size photos, as docs/restoration.md fits it.
RADIUS_OF_MAP = 0.031 * 255

#: A place is in focus in that photo of a pair that has this many times the other's squared gradient there, or more.
#: The photos of `breakfast` differ less.
FOCUS_RATIO = 2.0

#: scikit-image's sample photos, which the network was trained with, are no test of it.
TRAINED_WITH = ("astronaut", "brick", "camera", "chelsea", "coffee")

_GRADIENT_SIGMA, _POOLING_SIGMA = 1.0, 4.0  # pixels
_PATTERNS = {"defocus": "*/defocus.png", "multifocus": "*/near.png", "rgbd": "*/rgb.*", "sharp": "*.png"}


def listed(data: Path, kind: str) -> list[tuple[Path, bool]]:
    """Return the scenes of a kind in order, and whether each was held back when constants were chosen: every second."""
    paths = sorted((data / kind).glob(_PATTERNS[kind]))
    if not paths:
        print(f"\nSkipped: there is no {data / kind / _PATTERNS[kind]}")
    return [(path if kind == "sharp" else path.parent, index % 2 == 1) for index, path in enumerate(paths)]


@dataclass(frozen=True)
class Defocused:
    """A grey photo, and the radius of its blur in pixels, NaN where not known."""

    photo: np.ndarray
    radius: np.ndarray


def defocused(folder: Path) -> Defocused:
    """Return a photo of ``defocus``, encoded as photos are."""
    light, steps = (fr.read_photo(folder / f"{name}.png").pixels for name in ("blurry", "defocus"))
    photo = encode(np.clip(light / np.percentile(light, 99.9), 0, 1).astype(np.float32))
    scale = 2 if folder.name.endswith("_full") else 1
    return Defocused(photo, np.where(steps > 0, steps * np.float32(RADIUS_OF_MAP * scale), np.nan))


@dataclass(frozen=True)
class Pair:
    """Two photos of a view; `sharper` is 1 where the near one is in focus, -1 where the far one is, 0 where unclear."""

    near: np.ndarray
    far: np.ndarray
    sharper: np.ndarray


def pair(folder: Path) -> Pair:
    """Return a pair of ``multifocus``."""
    near, far = (fr.read_photo(folder / f"{name}.png").pixels for name in ("near", "far"))
    energy_near, energy_far = _gradient_energy(near), _gradient_energy(far)
    larger = np.maximum(energy_near, energy_far)
    ratio = np.log(energy_near / energy_far)
    clear = (larger > np.median(larger) / 2) & (np.abs(ratio) > np.log(FOCUS_RATIO))
    return Pair(near, far, np.where(clear, np.sign(ratio), 0))


def _gradient_energy(photo: np.ndarray) -> np.ndarray:
    grey = photo.mean(axis=2) if photo.ndim == 3 else photo
    gradient = np.gradient(gaussian_filter(grey, _GRADIENT_SIGMA))
    return gaussian_filter(np.square(gradient[0]) + np.square(gradient[1]), _POOLING_SIGMA)


def measured_depth(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return a photo of ``rgbd`` and its depth, larger where farther, NaN where not known."""
    photo = fr.read_photo(next(folder.glob("rgb.*"))).pixels
    if (folder / "depth.png").exists():
        depth = fr.read_photo(folder / "depth.png").pixels
        return photo, np.where(depth > 0, depth, np.nan)
    disparity = fr.read_photo(folder / "disparity.png").pixels
    return photo, np.where(disparity > 0, -disparity, np.nan)


def sharp_photos(data: Path) -> Iterator[np.ndarray]:
    """Yield photos that the network was not trained with, in linear light."""
    for path, _ in listed(data, "sharp"):
        if path.stem not in TRAINED_WITH:
            yield decode(fr.read_photo(path).pixels)


def blurred(light: np.ndarray, radius: float) -> np.ndarray:
    """Return linear light behind a disk, encoded; borders are mirrored."""
    psf = fr.disk_psf(max(2 * radius, 1))
    reach = len(psf) // 2
    planes = light[..., np.newaxis] if light.ndim == 2 else light
    padded = np.pad(planes, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    result = fftconvolve(padded, psf[..., np.newaxis], mode="valid", axes=(0, 1))
    return encode(np.clip(result.reshape(light.shape), 0, 1).astype(np.float32))


def ramp(light: np.ndarray, largest: float) -> Defocused:
    """Return a photo whose radius grows from 0 at its left border to `largest` at its right one."""
    radius = np.broadcast_to(np.linspace(0, largest, light.shape[1], dtype=np.float32), light.shape[:2])
    photo = np.zeros_like(light)
    for step in np.arange(np.ceil(largest) + 1):
        share = np.maximum(1 - np.abs(radius - step), 0)
        photo += decode(blurred(light, step)) * (share if light.ndim == 2 else share[..., np.newaxis])
    return Defocused(encode(photo), radius)


def area_under_curve(score: np.ndarray, positive: np.ndarray) -> float:
    """Return the probability that a positive has a larger score than a negative."""
    count = np.count_nonzero(positive)
    ranks = rankdata(score)[positive].sum() - count * (count + 1) / 2
    return float(ranks / (count * (positive.size - count)))
