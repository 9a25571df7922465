"""The photos of paper B's experiment: pairs in which an object is in focus in one photo and not in the other.

The objects' outlines were drawn by hand: `paper_b_masks.json` holds them as polygons of (x, y) in pixels of the photo,
some pixels inside the object. `object` is the out-of-focus object; `target` and `elsewhere` are two parts of it (or of
the same surface), apart by more than the PSF. A scene whose view changes between the photos has `focused_object`
instead: the object in the focused photo. The free photos have the object alone, and are defocused here.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.signal import fftconvolve
from skimage.draw import polygon2mask
from skimage.registration import phase_cross_correlation
from skimage.transform import SimilarityTransform, matrix_transform, warp

import fastrefocus as fr
from fastrefocus.light import decode, encode
from fastrefocus.samples import load_sample

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
OUTLINES = json.loads(Path(__file__).with_name("paper_b_masks.json").read_text())

STEPS = 5  # of Gauss-Newton; five more change nothing that is printed

FREE_DIAMETER = 7
FREE_NOISE = 0.01  # standard deviation, of encoded values: two exposures are never the same
FREE_VIEW = {"scale": 1.03, "rotation": np.deg2rad(2)}


@dataclass(frozen=True)
class Calibration:
    """What maps the focused photo to the defocused one. Pixels; the offset is that of the object's centre."""

    offset: np.ndarray  # (y, x)
    magnification: float
    gain: np.ndarray  # a channel, in linear light
    disk: fr.DiskFit
    residual: float  # root mean square inside the object, linear light


@dataclass(frozen=True)
class Scene:
    """Photos are float32 (H, W, 3) of encoded values, 0..1; masks are bool (H, W)."""

    name: str
    defocused: np.ndarray
    focused: np.ndarray  # with the defocused photo's gain, and aligned with it unless there is a `focused_object`
    truth: np.ndarray  # the focused photo, aligned; only a likeness where the view changed
    masks: dict[str, np.ndarray]
    psf: np.ndarray
    calibration: Calibration | None  # None: known, since we defocused the photo


def load(name: str) -> Scene:
    """Read a pair, fit what maps the focused photo to the defocused one, and undo it but for the blur."""
    outlines = dict(OUTLINES[name])
    folder = DATA / outlines.pop("folder")
    defocused = fr.read_photo(folder / outlines.pop("defocused")).pixels
    focused = fr.read_photo(folder / outlines.pop("focused")).pixels
    masks = {part: polygon_mask(polygon, defocused.shape) for part, polygon in outlines.items()}
    calibration, aligned = calibrate(decode(defocused), decode(focused), masks["object"])
    truth = to_photo(aligned)
    focused = to_photo(decode(focused) * calibration.gain) if "focused_object" in masks else truth
    return Scene(name, defocused, focused, truth, masks, calibration.disk.psf, calibration)


def load_free(name: str, *, turned: bool = False) -> Scene:
    """Defocus the object of a free photo; `turned`: the focused photo is of another view, scaled and rotated."""
    sharp = load_sample(name).pixels
    outline = OUTLINES[name]["object"]
    mask = polygon_mask(outline, sharp.shape)
    psf = fr.disk_psf(FREE_DIAMETER)
    defocused = np.where(mask[..., None], to_photo(blur(decode(sharp), psf)), sharp)
    masks = {"object": mask}
    focused = sharp
    if turned:
        view = about_centre(SimilarityTransform(**FREE_VIEW), sharp.shape)
        focused = warp(sharp, view.inverse, order=3, mode="edge")
        masks["focused_object"] = polygon_mask(matrix_transform(outline, view.params), sharp.shape)
    rng = np.random.default_rng(0)
    photos = [np.clip(photo + rng.normal(0, FREE_NOISE, photo.shape), 0, 1) for photo in (defocused, focused)]
    return Scene(name, *(photo.astype(np.float32) for photo in photos), sharp, masks, psf, None)


def about_centre(transform: SimilarityTransform, shape: tuple[int, ...]) -> SimilarityTransform:
    centre = np.array([shape[1], shape[0]]) / 2
    return SimilarityTransform(translation=-centre) + transform + SimilarityTransform(translation=centre)


def to_photo(light: np.ndarray) -> np.ndarray:
    return encode(np.clip(light, 0, 1).astype(np.float32))


def polygon_mask(vertices: list[list[int]], shape: tuple[int, ...]) -> np.ndarray:
    return polygon2mask(shape[:2], np.asarray(vertices)[:, ::-1])


def calibrate(defocused: np.ndarray, focused: np.ndarray, mask: np.ndarray) -> tuple[Calibration, np.ndarray]:
    """Fit offset, magnification, gain and PSF inside the mask; return them and the focused photo so mapped.

    Linear light. Phase correlation finds the offset to a pixel. Then Gauss-Newton steps reduce the squared difference
    between the defocused photo and the focused one, blurred by the disk that fits best at that step.
    """
    inside = box(mask)
    offset, _, _ = phase_cross_correlation(defocused[inside].mean(-1), focused[inside].mean(-1), normalization=None)
    motion = np.append(offset, 0.0)
    for _ in range(STEPS):
        current, aligned = compare(defocused, focused, mask, motion)
        motion = motion + step(defocused, aligned, current, mask)
    return compare(defocused, focused, mask, motion)


def compare(
    defocused: np.ndarray, focused: np.ndarray, mask: np.ndarray, motion: np.ndarray
) -> tuple[Calibration, np.ndarray]:
    inside = box(mask)
    moved = move(focused, mask, motion)
    disk = fr.fit_disk_psf(moved[inside], defocused[inside], linearize=False)
    blurred = blur(moved, disk.psf)[mask]
    seen = defocused[mask]
    gain = (seen * blurred).sum(0) / np.square(blurred).sum(0)
    residual = float(np.sqrt(np.mean(np.square(blurred * gain - seen))))
    return Calibration(motion[:2], 1 + motion[2], gain, disk, residual), moved * gain


def step(defocused: np.ndarray, aligned: np.ndarray, current: Calibration, mask: np.ndarray) -> np.ndarray:
    """Return the change of (y offset, x offset, magnification) that explains the difference to first order."""
    blurred = blur(aligned, current.disk.psf)
    gradient_y, gradient_x = np.gradient(blurred, axis=(0, 1))
    y, x = (distance[..., None] for distance in distances(mask))
    columns = [gradient_y, gradient_x, gradient_y * y + gradient_x * x]
    system = np.stack([column[mask].ravel() for column in columns], axis=1)
    return np.linalg.lstsq(system, (blurred - defocused)[mask].ravel(), rcond=None)[0]


def move(image: np.ndarray, mask: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Shift by (motion[0], motion[1]) and enlarge by 1 + motion[2] about the mask's centre (to first order)."""
    y, x = np.indices(mask.shape)
    distance_y, distance_x = distances(mask)
    source = [y - motion[0] - motion[2] * distance_y, x - motion[1] - motion[2] * distance_x]
    planes = [map_coordinates(image[..., i], source, order=3, mode="nearest") for i in range(image.shape[2])]
    return np.stack(planes, axis=-1)


def distances(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each pixel from the mask's centre, down and to the right."""
    y, x = np.indices(mask.shape).astype(float)
    return y - y[mask].mean(), x - x[mask].mean()


def blur(image: np.ndarray, psf: np.ndarray) -> np.ndarray:
    radius = psf.shape[0] // 2
    padded = np.pad(image, ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    return fftconvolve(padded, psf[..., None], mode="valid", axes=(0, 1))


def box(mask: np.ndarray, margin: int = 0) -> tuple[slice, slice]:
    """Return the slices of the mask's bounding box, widened by the margin where the image goes on."""
    rows, columns = np.nonzero(mask)
    top, left = max(rows.min() - margin, 0), max(columns.min() - margin, 0)
    return np.s_[top : rows.max() + 1 + margin, left : columns.max() + 1 + margin]
