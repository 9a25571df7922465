"""What refocusing by examples is measured on: real pairs with outlines by hand, changes of view with known truth."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from paper_b_scenes import Scene, blur, box, load, to_photo
from skimage.data import stereo_motorcycle
from skimage.transform import ProjectiveTransform, SimilarityTransform, warp

import fastrefocus as fr
from fastrefocus.light import decode
from fastrefocus.samples import load_sample

PAIRS = ("golfer", "torso", "globe", "city", "doll", "brick")
GAUSSIAN_SIGMAS = np.arange(1, 6, 0.25).tolist()
TUNED_PAIRS = ("golfer", "globe", "doll")  # every second one: the constants were found on these

PHOTOS = ("astronaut", "chelsea", "coffee")
TUNED_PHOTOS = ("astronaut", "coffee")
DIAMETERS = (7, 11)
SIDE = 256  # of the crops, pixels
CORNERS = {
    "astronaut": (20, 110),
    "chelsea": (20, 60),
    "coffee": (60, 150),
    "motorcycle": (150, 260),
}  # top left (y, x)
BORDER = 24  # pixels of a crop that are not measured: more than any PSF reaches
NOISE = 0.01  # standard deviation, of encoded values, in either photo
SCALE = 1.03
HOMOGRAPHY = np.array([[1.02, 0.015, -4.0], [-0.012, 0.99, 3.0], [4e-5, -3e-5, 1.0]])
CROP_SHIFT = SIDE // 4  # of the other crop, pixels to the right: a quarter of the defocused one is not in it
GAIN = 1.1
STEREO_SHIFT = 50  # pixels by which the right photo's crop is moved: about the motorcycle's disparity


@dataclass(frozen=True)
class Case:
    """A photo to repair. Photos are float32 (H, W, 3) of encoded values, 0..1; masks are bool (H, W)."""

    name: str
    defocused: np.ndarray
    focused: np.ndarray
    truth: np.ndarray
    mask: np.ndarray  # what is repaired and measured
    source: np.ndarray  # where in the focused photo examples come from
    psf: np.ndarray
    copy: np.ndarray | None  # the focused photo, registered; None: it is the truth


def real(repaired: str, source: str, names: tuple[str, ...] = PAIRS) -> Iterator[Case]:
    """Yield the pairs with a part of the object to repair, and one that gives the examples."""
    for name in names:
        yield of_scene(load(name), repaired, source)


def of_scene(scene: Scene, repaired: str, source: str) -> Case:
    psf = disk_or_gaussian(scene)
    return Case(
        scene.name,
        scene.defocused,
        scene.focused,
        scene.truth,
        scene.masks[repaired],
        scene.masks[source],
        psf,
        copy=None,
    )


def disk_or_gaussian(scene: Scene) -> np.ndarray:
    """Return the disk that was fitted, or the Gaussian that leaves less; for all ways of a table alike."""
    mask = scene.masks["object"]
    inside = box(mask, margin=24)
    seen, sharp, mask = decode(scene.defocused[inside]), decode(scene.truth[inside]), mask[inside]
    candidates = [scene.psf, *(fr.gaussian_psf(sigma) for sigma in GAUSSIAN_SIGMAS)]
    return min(candidates, key=lambda psf: np.square((blur(sharp, psf) - seen)[mask]).sum())


def synthetic(photos: tuple[str, ...] = PHOTOS) -> Iterator[Case]:
    """Yield the changes of view, for each photo and each disk; and the stereo pair."""
    for diameter in DIAMETERS:
        for photo in photos:
            large = load_sample(photo).pixels
            for view in VIEWS:
                yield changed_view(f"{photo}, {view}, {diameter} px", large, CORNERS[photo], view, diameter)
        left, right, _ = stereo_motorcycle()
        yield stereo(left.astype(np.float32) / 255, right.astype(np.float32) / 255, diameter)


def changed_view(name: str, photo: np.ndarray, corner: tuple[int, int], view: str, diameter: int) -> Case:
    truth = crop(photo, corner)
    transform = VIEWS[view]
    if view == "other crop":
        focused = crop(photo, (corner[0], corner[1] + CROP_SHIFT))
    else:
        focused = warp(truth, transform.inverse, order=3, mode="reflect").astype(np.float32)
    defocused = noisy(defocus(photo, corner, diameter), 0)
    gain = GAIN if view == "brighter" else 1
    focused = noisy(to_photo(decode(focused) * np.float32(gain)), 1)
    return case(name, defocused, focused, truth, diameter, transform, gain)


def stereo(left: np.ndarray, right: np.ndarray, diameter: int) -> Case:
    corner = CORNERS["motorcycle"]
    focused = noisy(crop(right, (corner[0], corner[1] - STEREO_SHIFT)), 1)
    defocused = noisy(defocus(left, corner, diameter), 0)
    return case(
        f"motorcycle, stereo, {diameter} px", defocused, focused, crop(left, corner), diameter, ProjectiveTransform()
    )


def case(
    name: str,
    defocused: np.ndarray,
    focused: np.ndarray,
    truth: np.ndarray,
    diameter: int,
    transform: ProjectiveTransform,
    gain: float = 1,
) -> Case:
    """Put a case together; the transform maps (x, y) of the defocused photo to the focused one, which is brighter."""
    y, x = np.indices(truth.shape[:2])
    seen = transform(np.stack([x.ravel(), y.ravel()], axis=-1)).reshape(*y.shape, 2)
    shown = ((seen >= 0) & (seen <= SIDE - 1)).all(-1)
    registered = warp(to_photo(decode(focused) / np.float32(gain)), transform, order=3, mode="edge").astype(np.float32)
    mask = np.zeros(truth.shape[:2], bool)
    mask[BORDER:-BORDER, BORDER:-BORDER] = True
    return Case(
        name,
        defocused,
        focused,
        truth,
        mask,
        np.ones_like(mask),
        fr.disk_psf(diameter),
        copy=np.where(shown[..., None], registered, defocused),
    )


def brighter_from_elsewhere() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a photo whose middle is misfocused, a focused one, a mask and the PSF, for a figure."""
    truth, psf = load_sample("astronaut").pixels, fr.disk_psf(15)
    y, x = np.indices(truth.shape[:2])
    mask = np.hypot(y - 140, x - 240) < 120
    share = np.clip((124 - np.hypot(y - 140, x - 240)) / 8, 0, 1)[..., np.newaxis].astype(np.float32)
    misfocused = to_photo(share * blur(decode(truth), psf) + (1 - share) * decode(truth))
    turned = SimilarityTransform(scale=1.03, rotation=0.03, translation=(-14, 6))
    focused = warp(truth, turned.inverse, order=3, mode="reflect").astype(np.float32)
    return noisy(misfocused, 0), noisy(to_photo(decode(focused) * np.float32(GAIN)), 1), mask, psf


def crop(photo: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    return np.ascontiguousarray(photo[corner[0] : corner[0] + SIDE, corner[1] : corner[1] + SIDE])


def defocus(photo: np.ndarray, corner: tuple[int, int], diameter: int) -> np.ndarray:
    return crop(to_photo(blur(decode(photo), fr.disk_psf(diameter))), corner)


def noisy(photo: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, NOISE, photo.shape)
    return np.clip(photo + noise, 0, 1).astype(np.float32)


def about_centre(matrix: np.ndarray) -> ProjectiveTransform:
    half = SIDE / 2
    to_centre = SimilarityTransform(translation=(-half, -half))
    return to_centre + ProjectiveTransform(matrix) + SimilarityTransform(translation=(half, half))


#: Views that the focused photo may have; each maps (x, y) of the defocused photo to the focused one.
VIEWS = {
    "scaled": about_centre(np.diag([SCALE, SCALE, 1.0])),
    "homography": ProjectiveTransform(HOMOGRAPHY),
    "other crop": ProjectiveTransform(SimilarityTransform(translation=(-CROP_SHIFT, 0)).params),
    "brighter": ProjectiveTransform(),
}
