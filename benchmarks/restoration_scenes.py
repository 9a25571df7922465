"""Photos for restoration.py, found by listing folders, and how a restored photo is held against the true one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paper_b_scenes
from paper_a import SIZE, square
from paper_b_scenes import OUTLINES, Scene, calibrate, load, to_photo
from scipy.ndimage import binary_erosion, binary_opening, gaussian_filter, shift
from scipy.signal import fftconvolve
from skimage.measure import label, regionprops
from skimage.transform import resize

import fastrefocus as fr
from fastrefocus.light import decode, encode, luminance

#: Half-size radius, in pixels, of a step of the defocus maps, and what the camera's PSFs were measured at, full size.
RADIUS_OF_MAP = 0.031 * 255
MEASURED_RADIUS = 184 * 0.062
PSF_CELLS = (6, 8)

MOST_SHIFT = 3  # pixels, between the blurred and the sharp exposure
BLOCK, WORST = 32, 0.05

CROP = 256  # pixels a side, of photos that are blurred here
FOCUS_SIGMA, FOCUS_RATIO, LEAST_REGION = 12, 3, 4000

PATTERNS = {"defocus": "*/defocus.png", "multifocus": "*/near.png", "rgbd": "nyu_*/depth.png", "sharp": "*.png"}


def listed(data: Path, kind: str) -> list[Path]:
    """Return the scenes of a kind, in order: folders, or files for "sharp"; full-size doubles are left out."""
    found = sorted((data / kind).glob(PATTERNS[kind]))
    if kind != "sharp":
        found = [path.parent for path in found if not path.parent.name.endswith("_full")]
    if not found:
        print(f"\nSkipped: there is no {data / kind / PATTERNS[kind]}")
    return found


@dataclass(frozen=True)
class Exposures:
    """A blurred and a sharp photo of one view, grey and linear, and the radius of the blur: NaN where not known."""

    name: str
    blurred: np.ndarray
    sharp: np.ndarray
    radius: np.ndarray


def defocus_scene(folder: Path) -> Exposures:
    blurred, sharp, radius = (fr.read_photo(folder / f"{name}.png").pixels for name in ("blurry", "sharp", "defocus"))
    radius[radius == 0] = np.nan
    sharp = sharp / np.percentile(sharp, 99.9)
    return Exposures(folder.name, blurred, sharp, radius * np.float32(RADIUS_OF_MAP))


def error_map(image: np.ndarray, scene: Exposures) -> np.ndarray:
    """Return the squared error, NaN where the map is not known, with gain, offset and shift that make it least."""
    border = MOST_SHIFT
    inner = np.s_[border:-border, border:-border]
    known = np.isfinite(scene.radius[inner])
    truth = scene.sharp[inner]
    height, width = truth.shape
    best = None
    for top, left in np.ndindex(2 * border + 1, 2 * border + 1):
        seen = image[top : top + height, left : left + width]
        covariance = np.cov(seen[known], truth[known])
        gain = covariance[0, 1] / covariance[0, 0]
        left_over = covariance[1, 1] - gain * covariance[0, 1]
        if best is None or left_over < best[0]:
            best = left_over, gain * (seen - seen[known].mean()) + truth[known].mean()
    return np.where(known, np.square(best[1] - truth), np.nan)


def psnr_of(error: np.ndarray) -> float:
    return float(-10 * np.log10(np.nanmean(error)))


def worst_region(before: np.ndarray, after: np.ndarray) -> float:
    """Return the gain, in dB, of the blocks whose squared error grew most, or fell least, taken together."""
    rows, columns = (length // BLOCK for length in before.shape)
    sums = [
        np.nansum(error[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK), axis=(1, 3)).ravel()
        for error in (before, after)
    ]
    worst = np.argsort(sums[1] - sums[0])[-max(1, round(WORST * rows * columns)) :]
    return float(10 * np.log10(sums[0][worst].sum() / sums[1][worst].sum()))


def measured_psfs(data: Path) -> fr.PsfGrid | None:
    """Return the camera's PSFs without their noise, each moved so that its centroid is in the middle."""
    path = data / "kernels" / "pixel4_defocus_psf.npz"
    if not path.exists():
        print(f"\nWithout measured PSFs: there is no {path}")
        return None
    psfs = np.stack([centred(psf) for psf in np.load(path)["psf"]])
    return fr.PsfGrid(psfs.reshape(*PSF_CELLS, *psfs.shape[1:]), radius=MEASURED_RADIUS)


def centred(psf: np.ndarray) -> np.ndarray:
    body = np.where(psf > 0.1 * psf.max(), psf, 0)
    place = [np.average(index, weights=body) for index in np.indices(psf.shape)]
    offset = [length // 2 - centre for length, centre in zip(psf.shape, place, strict=True)]
    moved = np.maximum(shift(np.maximum(psf - 0.02 * psf.max(), 0), offset, order=1), 0)
    return (moved / moved.sum()).astype(np.float32)


def regions(data: Path) -> Iterator[Scene]:
    """Yield out-of-focus regions of the pairs: outlined by hand where there is an outline, else found."""
    paper_b_scenes.DATA = data
    outlined = {lines["folder"]: name for name, lines in OUTLINES.items() if "folder" in lines}
    for folder in listed(data, "multifocus"):
        name = outlined.get(f"multifocus/{folder.name}")
        scene = found_region(folder) if name is None else load(name)
        if scene is not None:
            yield scene


def found_region(folder: Path) -> Scene | None:
    """Return the larger of the regions that are in focus in one photo of a pair only."""
    near, far = (fr.read_photo(folder / f"{name}.png").pixels for name in ("near", "far"))
    pairs = [(near, far), (far, near)]
    masks = [largest_part(sharper(focused, defocused)) for defocused, focused in pairs]
    (defocused, focused), mask = max(zip(pairs, masks, strict=True), key=lambda found: found[1].sum())
    if mask.sum() < LEAST_REGION:
        return None
    calibration, aligned = calibrate(decode(defocused), decode(focused), mask)
    truth = to_photo(aligned)
    name = f"{folder.name} (found)"
    return Scene(name, defocused, truth, truth, {"object": mask}, calibration.disk.psf, calibration)


def sharper(photo: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return where a photo has several times the other's detail."""
    energies = []
    for image in (photo, other):
        gradient = np.gradient(luminance(image) if image.ndim == 3 else image)
        energies.append(gaussian_filter(np.square(gradient[0]) + np.square(gradient[1]), FOCUS_SIGMA))
    return (energies[0] > FOCUS_RATIO * energies[1]) & (energies[0] > np.median(energies[0]))


def largest_part(mask: np.ndarray) -> np.ndarray:
    parts = label(binary_opening(binary_erosion(mask, iterations=6), iterations=6))
    largest = max(regionprops(parts), key=lambda part: part.area, default=None)
    return np.zeros_like(mask) if largest is None else parts == largest.label


@dataclass(frozen=True)
class DepthScene:
    """A sharp photo, a depth that says how far each pixel is (0..1), and what the depth was made of."""

    name: str
    sharp: np.ndarray
    depth: fr.DepthMap


def depth_scenes(data: Path) -> Iterator[DepthScene]:
    """Yield paper A's protocol: the depth as the paper scales it, and its ranks, so that half the photo is blurred."""
    for folder in listed(data, "rgbd"):
        photo = fr.read_photo(next(folder.glob("rgb.*"))).pixels
        metres = fr.read_photo(folder / "depth.png").pixels * np.float32(65.535)
        metres[metres == 0] = np.nan
        sharp = np.clip(resize(square(photo), (SIZE, SIZE), anti_aliasing=True), 0, 1).astype(np.float32)
        measured = resize(square(metres), (SIZE, SIZE), order=0, anti_aliasing=False)
        depth = fr.postprocess_depth(fr.DepthMap(measured, "metric"))
        yield DepthScene(f"{folder.name}, as published", sharp, depth)
        yield DepthScene(f"{folder.name}, half blurred", sharp, half_beyond(depth, fr.PAPER_A_FIGURE_5.thresholds[0]))


def half_beyond(depth: fr.DepthMap, threshold: float) -> fr.DepthMap:
    """Return depth by rank, stretched so that half of the pixels are beyond the threshold."""
    ranks = depth.values.ravel().argsort().argsort().reshape(depth.values.shape) / depth.values.size
    return fr.DepthMap(np.interp(ranks, (0, 0.5, 1), (0, threshold, 1)).astype(np.float32), "relative")


def sigma_map(depth: fr.DepthMap) -> np.ndarray:
    """Return the standard deviation of the Gaussian that paper A blurs each pixel with; 0: none."""
    sigma = np.zeros(depth.values.shape, np.float32)
    for value, threshold in zip(fr.PAPER_A_FIGURE_5.sigmas, fr.PAPER_A_FIGURE_5.thresholds, strict=True):
        sigma[depth.values > threshold] = value
    return sigma


def sharp_photos(data: Path, *, colour: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Yield photos that are sharp: the coloured ones, or all as luminance of their encoded values."""
    for path in listed(data, "sharp"):
        photo = fr.read_photo(path).pixels
        if photo.ndim == 3 or not colour:
            yield path.stem, photo if colour else luminance(photo)


def blurred_and_cropped(
    photo: np.ndarray, psf: np.ndarray, noise: float, *, light: bool = False, side: int = CROP
) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle of a photo, blurred with what lies around it and with noise, and the same as it was."""
    top, left = (max((length - side) // 2, psf.shape[0] // 2) for length in photo.shape[:2])
    inside = np.s_[top : photo.shape[0] - top, left : photo.shape[1] - left]
    values = decode(photo) if light else photo
    kernel = psf if photo.ndim == 2 else psf[..., np.newaxis]
    blurred = fftconvolve(values, kernel, mode="same", axes=(0, 1)).astype(np.float32)
    seen = encode(np.clip(blurred, 0, 1)) if light else blurred
    return noisy(seen[inside], noise), photo[inside]


def noisy(photo: np.ndarray, noise: float) -> np.ndarray:
    return (photo + np.random.default_rng(0).normal(0, noise, photo.shape)).astype(np.float32)


def psnr(image: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> float:
    square_error = np.square(np.clip(image, 0, 1) - truth)
    return float(-10 * np.log10(np.mean(square_error if where is None else square_error[where])))
