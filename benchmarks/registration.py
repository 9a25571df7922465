"""Registration: synthetic changes of view, a stereo pair, real pairs, and photos of different scenes.

    python benchmarks/registration.py                  # all tables
    python benchmarks/registration.py views stereo     # some of them; also: pairs, wrong, large

Every photo is registered with mask=None but for the tables views, stereo and large. Pictures of the real pairs go to
benchmarks/out/registration: the defocused photo with the mask outlined in red and what is sharper in green; the focused
photo as seen from there, what is not covered in magenta; the agreement.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
from examples_scenes import CORNERS, SIDE, STEREO_SHIFT, crop, noisy
from paper_a_figures import write
from paper_b import header, row
from paper_b_scenes import DATA, blur, to_photo
from scipy.ndimage import binary_erosion, map_coordinates
from skimage.data import stereo_motorcycle

import fastrefocus as fr
from fastrefocus.light import decode, encode
from fastrefocus.samples import load_sample
from fastrefocus.synthesis.registration import Registration, register
from fastrefocus.synthesis.view import Matrix, View

OUT = Path(__file__).resolve().parent / "out" / "registration"
THREADS = 1

SHARP = ("live1_bikes", "live1_lighthouse2", "live1_parrots", "brick")  # none of them was looked at before
PSFS = {"disk 7": fr.disk_psf(7), "disk 13": fr.disk_psf(13), "Gaussian 2.5": fr.gaussian_psf(2.5)}
SIGMAS = {"disk 7": 1.75, "disk 13": 3.25, "Gaussian 2.5": 2.5}  # a disk's is a quarter of its diameter

#: Scale, degrees, shift in pixels, tilt as the change of scale from side to side, gain at centre and corners.
VIEWS = {
    "same": (1.0, 0.0, (0, 0), 0.0, (1.0, 1.0)),
    "6 % larger": (1.06, 0.0, (0, 0), 0.0, (1.0, 1.0)),
    "6 % smaller, turned 4 degrees": (0.94, 4.0, (5, 3), 0.0, (1.0, 1.0)),
    "shifted 100 px": (1.0, 0.0, (94, -34), 0.0, (1.0, 1.0)),
    "tilted": (1.02, 1.5, (6, -4), 0.06, (1.0, 1.0)),
    "vignetted, 15 % darker": (1.03, 0.0, (3, 2), 0.0, (0.85, 0.6)),
}
PAIRINGS = 4  # every fourth pairing of different scenes is looked at: all of them take half an hour
OCCLUDED_BY = 1.5  # pixels of disparity by which something that hides another place is nearer
LARGE = (3000, 4000)


def main() -> None:
    tables = {"views": views, "stereo": stereo, "pairs": pairs, "wrong": wrong, "large": large}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(tables)}; default: all")
    arguments = parser.parse_args()
    if unknown := set(arguments.tables) - set(tables):
        parser.error(f"there is no table {', '.join(sorted(unknown))}")
    for name in arguments.tables or tables:
        tables[name]()


def views() -> None:
    """Print the error of the view, median and largest of all photos and PSFs, for each view."""
    header("view", "believed", "error, px", "largest", "error of sigma, px", "shape found", "score", "s")
    for name in VIEWS:
        errors, sigmas, shapes, scores, believed, seconds = [], [], [], [], [], []
        for photo in SHARP:
            sharp = decode(fr.read_photo(DATA / "sharp" / f"{photo}.png").pixels)
            for blur_name, psf in PSFS.items():
                defocused, seen = taken(sharp, name, psf)
                mask = inside(sharp.shape[:2])
                found, s = timed(decode(noisy(defocused, 0)), decode(noisy(encode(sharp), 1)), mask)
                at = mask & found.covered()
                errors.append(np.median(np.hypot(*(np.moveaxis(found.coordinates(), -1, 0) - seen))[at]))
                sigmas.append(abs(found.blur.sigma - SIGMAS[blur_name]))
                shapes.append(found.blur.shape in blur_name.lower())
                scores.append(found.score)
                believed.append(found.is_believable)
                seconds.append(s)
        row(
            name, share(believed), f"{np.median(errors):.3f}", f"{max(errors):.2f}", f"{np.median(sigmas):.2f}",
            share(shapes), f"{min(scores):.2f} to {max(scores):.2f}", f"{np.median(seconds):.1f}",
        )  # fmt: skip


def taken(sharp: np.ndarray, name: str, psf: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the photo that another camera takes out of focus, encoded, and where its pixels are in `sharp`."""
    scale, degrees, shift, tilt, (centre, corner) = VIEWS[name]
    height, width = sharp.shape[:2]
    seen = View(about_centre(height, width, scale, degrees, shift, tilt)).seen_from((0, 0, height, width))
    planes = [map_coordinates(p, seen, order=3, mode="mirror") for p in np.moveaxis(np.atleast_3d(sharp), -1, 0)]
    light = blur(np.stack(planes, axis=-1), psf).reshape(sharp.shape)
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    gain = centre + (corner - centre) * (y**2 + x**2) / 2
    return to_photo(light * (gain if sharp.ndim == 2 else gain[..., np.newaxis]).astype(np.float32)), seen


def about_centre(height: int, width: int, scale: float, degrees: float, shift: tuple[int, int], tilt: float) -> Matrix:
    to_centre = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    cos, sin = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    change = np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]], [tilt / width, -tilt / height, 1]])
    return np.linalg.inv(to_centre) @ change @ to_centre


def inside(shape: tuple[int, ...]) -> np.ndarray:
    """Return a mask on the middle of a photo."""
    mask = np.zeros(shape, bool)
    mask[shape[0] // 4 : -(shape[0] // 4), shape[1] // 4 : -(shape[1] // 4)] = True
    return mask


def stereo() -> None:
    """Print what becomes of the motorcycle, whose disparity is known."""
    header("stereo pair", "error, px", "> 1 px", "> 3 px", "not covered: hidden", "> 3 px", "< 1 px", "score", "s")
    left, right, disparity = stereo_motorcycle()
    left, right = (photo.astype(np.float32) / 255 for photo in (left, right))
    hidden = hidden_by_nearer(disparity)
    y, x = CORNERS["motorcycle"]
    part = np.s_[y : y + SIDE, x : x + SIDE]
    focused = decode(noisy(crop(right, (y, x - STEREO_SHIFT)), 1))
    truth = np.arange(SIDE) - (disparity[part] - STEREO_SHIFT)
    for diameter in (7, 11):
        photo = noisy(crop(to_photo(blur(decode(left), fr.disk_psf(diameter))), (y, x)), 0)
        mask = np.zeros((SIDE, SIDE), bool)
        mask[24:-24, 24:-24] = True
        found, s = timed(decode(photo), focused, mask)
        error = np.hypot(found.coordinates()[..., 1] - truth, found.coordinates()[..., 0] - np.arange(SIDE)[:, None])
        known = mask & np.isfinite(disparity[part])
        shown, lost = known & ~hidden[part], known & hidden[part]
        uncovered = ~found.covered()
        row(
            f"motorcycle, disk {diameter}", f"{np.median(error[shown]):.2f}", percent(error[shown] > 1),
            percent(error[shown] > 3), percent(uncovered[lost]), percent(uncovered[shown & (error > 3)]),
            percent(uncovered[shown & (error < 1)]), f"{found.score:.2f}", f"{s:.1f}",
        )  # fmt: skip


def hidden_by_nearer(disparity: np.ndarray) -> np.ndarray:
    """Return which pixels of the left photo something nearer hides in the right one."""
    hidden = np.zeros(disparity.shape, bool)
    for line, found in zip(disparity, hidden, strict=True):
        columns = np.flatnonzero(np.isfinite(line) & (np.arange(len(line)) - line >= 0))
        there = np.rint(columns - line[columns]).astype(int)
        nearest = np.zeros(len(line) + 2)
        for beside in (0, 1):
            np.maximum.at(nearest, there + beside, line[columns])
        found[columns] = nearest[there] > line[columns] + OCCLUDED_BY
    return hidden


def pairs() -> None:
    """Print every ordered pair of every scene, then the scenes."""
    results: dict[str, list[tuple[Registration, float]]] = {}
    header("pair", "residual before", "after", "score", "blur", "own blur", "mask", "flow", "agreement", "s", "problem")
    for scene, photos in scenes():
        for i, j in permutations(range(len(photos)), 2):
            found, s = timed(photos[i], photos[j])
            results.setdefault(scene, []).append((found, s))
            picture(f"{scene}_{i}_{j}", photos[i], photos[j], found)
            row(f"{scene} {i} to {j}", *described(found), f"{s:.1f}", found.problem)
    header("scene", "pairs", "believed", "residual before", "after", "score", "mask", "with a flow", "s")
    for scene, found in results.items():
        good = [registration for registration, _ in found if registration.is_believable]
        row(
            scene, str(len(found)), str(len(good)), middle(r.residual_before for r in good),
            middle(r.residual for r in good), middle(r.score for r in good), middle(r.mask.mean() for r in good),
            share([r.view.flow is not None for r in good]), f"{np.median([s for _, s in found]):.1f}",
        )  # fmt: skip


def wrong() -> None:
    """Print how often photos of two scenes are taken for photos of one."""
    header("different scenes", "score", "s", "problem")
    scores, believed, seconds = [], [], []
    for k, ((one, ours), (other, theirs)) in enumerate(list(combinations(scenes(), 2))[::PAIRINGS]):
        found, s = timed(ours[0], theirs[0]) if k % 2 else timed(theirs[0], ours[0])
        scores.append(found.score)
        believed.append(found.is_believable)
        seconds.append(s)
        row(f"{one}, {other}", f"{found.score:.2f}", f"{s:.1f}", found.problem)
    header("pairings", "believed", "score, largest", "median", "s")
    row(
        str(len(scores)),
        str(sum(believed)),
        f"{max(scores):.2f}",
        f"{np.median(scores):.2f}",
        f"{np.median(seconds):.1f}",
    )


def large() -> None:
    """Print time and memory for 12 megapixels, with a mask of 1 megapixel and without."""
    header("12 megapixels", "s", "peak beyond the photos, MB", "score", "mask")
    base = fr.read_photo(DATA / "sharp" / "live1_bikes.png").pixels
    texture = np.tile(load_sample("coffee").pixels, (8, 7, 1))[: LARGE[0], : LARGE[1]]
    places = np.meshgrid(
        *(np.linspace(0, size - 1, n) for size, n in zip(base.shape, LARGE, strict=False)), indexing="ij"
    )
    planes = [map_coordinates(base[..., i], places, order=1, output=np.float32) for i in range(3)]
    sharp = decode((0.6 * np.stack(planes, axis=-1) + 0.4 * texture).astype(np.float32))
    soft = decode(noisy(to_photo(blur(sharp, fr.disk_psf(21))), 0))
    sharp = decode(noisy(encode(sharp), 1))
    mask = np.zeros(LARGE, bool)
    mask[1000:2000, 1500:2500] = True
    for name, given in (("with a mask of 1 megapixel", mask), ("without a mask", None)):
        before = resident()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
        found, s = timed(soft, sharp, given)
        peak = int(next(line for line in status() if line.startswith("VmHWM")).split()[1]) / 1000
        row(name, f"{s:.1f}", f"{peak - before:.0f}", f"{found.score:.2f}", f"{found.mask.mean():.2f}")


def status() -> list[str]:
    return Path("/proc/self/status").read_text().splitlines()


def resident() -> float:
    """Return the megabytes that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def scenes() -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield the scenes' names and photos, linear light."""
    for kind in ("shifted", "stacks", "multifocus"):
        for folder in sorted((DATA / kind).iterdir()):
            files = sorted(f for f in folder.iterdir() if f.stem.isdigit() or f.stem in ("near", "far"))
            yield folder.name, [decode(fr.read_photo(file).pixels) for file in files]


def timed(defocused: np.ndarray, focused: np.ndarray, mask: np.ndarray | None = None) -> tuple[Registration, float]:
    start = time.perf_counter()
    found = register(defocused, focused, mask, threads=THREADS)
    return found, time.perf_counter() - start


def described(found: Registration) -> list[str]:
    agreement = found.agreement()[found.mask]
    return [
        f"{found.residual_before:.4f}", f"{found.residual:.4f}", f"{found.score:.2f}",
        f"{found.blur.shape} {found.blur.sigma:.1f}", f"{found.focused_blur:.1f}", f"{found.mask.mean():.2f}",
        "yes" if found.view.flow is not None else "no", f"{agreement.mean() if agreement.size else np.nan:.2f}",
    ]  # fmt: skip


def picture(name: str, defocused: np.ndarray, focused: np.ndarray, found: Registration) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    outlined = np.clip(encode(defocused), 0, 1)
    outlined[outline(found.sharper)] = (0, 1, 0)
    outlined[outline(found.mask)] = (1, 0, 0)
    warped = np.clip(encode(found.warp(focused)), 0, 1)
    warped = np.repeat(warped, 3, axis=2) if warped.shape[2] == 1 else warped
    warped[~found.covered()] = (1, 0, 1)
    panels = [("defocused", outlined), ("focused, warped", warped), ("agreement", found.agreement())]
    write(OUT / f"{name}.png", panels, columns=3)


def outline(mask: np.ndarray) -> np.ndarray:
    return mask & ~binary_erosion(mask, iterations=2)


def middle(values: Iterator[float]) -> str:
    """Return the median, with more digits if it is small; "-" of nothing."""
    found = list(values)
    if not found:
        return "-"
    return f"{np.median(found):.4f}" if np.median(found) < 0.1 else f"{np.median(found):.2f}"


def share(flags: list[bool]) -> str:
    return f"{sum(flags)} of {len(flags)}"


def percent(flags: np.ndarray) -> str:
    return f"{100 * np.mean(flags):.0f} %"


if __name__ == "__main__":
    main()
