"""How well depth is brought to metres on real scenes: by points whose distance is known, and by blur.

    python benchmarks/depth_calibration.py        # the table of docs/depth_files.md

The photos are not part of the project.
"""

from pathlib import Path

import numpy as np

import fastrefocus as fr

SHARED = Path(__file__).resolve().parents[2] / "shared"
SCENES = ("motorcycle", "nyu_basement", "nyu_dining", "nyu_lounge")
COUNTS = (2, 3, 5, 9)
CHOICES = 15  # of points, for each count
DISTANCE_ERROR = 0.02  # standard deviation, in parts of the distance
LARGEST_RADII, NOISE = (4, 8, 12), 0.003  # of the blurred photo: pixels, and standard deviation of values 0..1
WRONG_FACTORS, WRONG_ERROR, TRIALS = (0.25, 4), 0.01, 2000  # one wrong distance among others that are nearly right


def by_points(depth, metres, count, rng):
    """Return the median error of the distance, in parts of it, for points from near to far; inf where refused."""
    known = np.flatnonzero(~np.isnan(metres) & ~np.isnan(depth.values))
    distances, (height, width) = metres.flat[known], metres.shape
    quantiles = np.clip(np.linspace(0.05, 0.95, count) + rng.uniform(-0.04, 0.04, count), 0, 1)
    chosen = [rng.choice(known[np.abs(distances / wanted - 1) < 0.02]) for wanted in np.quantile(distances, quantiles)]
    points = [((pixel % width + 0.5) / width, (pixel // width + 0.5) / height) for pixel in chosen]
    try:
        found = fr.calibrate_depth(depth, points, metres.flat[chosen] * rng.normal(1, DISTANCE_ERROR, count))
    except ValueError:  # the map has the points in another order: refused
        return np.inf
    return np.median(np.abs(found.depth.values.flat[known] / distances - 1))


def with_one_wrong(count, place, rng):
    """Return the errors of 1 / z, in parts of its range, with points anywhere and one wrong; inf where refused."""
    reciprocal = np.linspace(1, 0.1, 200)
    depth = fr.DepthMap(np.tile(reciprocal, (10, 1)), "inverse")
    errors = []
    for _ in range(TRIALS):
        columns = np.sort(rng.choice(reciprocal.size, count, replace=False))
        distances = rng.normal(1, WRONG_ERROR, count) / reciprocal[columns]
        wrong = rng.choice([0, count - 1]) if place == "end" else rng.integers(1, count - 1)
        distances[wrong] *= rng.choice(WRONG_FACTORS)
        try:
            found = fr.calibrate_depth(depth, [((x + 0.5) / reciprocal.size, 0.5) for x in columns], distances)
        except ValueError:
            errors.append(np.inf)
        else:
            errors.append(np.abs(1 / found.depth.values[0] - reciprocal).max() / np.ptp(reciprocal))
    return errors


def by_blur(photo, disparity, metres, largest):
    """Return the median errors with the true radii of blur, and with those read from the blurred photo in two ways."""
    focus = float(np.nanpercentile(metres.values, 15))
    lens = fr.ThinLens(85, 1.4, focus)
    stop = largest / float(np.abs(fr.coc_from_depth(metres, focus, lens=lens)).max())
    lens = fr.ThinLens(85, 1.4 / stop, focus)
    radius = fr.coc_from_depth(metres, focus, lens=lens)
    noise = np.random.default_rng(0).normal(0, NOISE, photo.shape)
    blurred = np.clip(fr.render_defocus(photo, radius) + noise, 0, 1)
    radii = radius, fr.estimate_blur(blurred).radius, fr.deblur(blurred).blur_radius
    return [blur_error(disparity, values, lens, metres) for values in radii]


def blur_error(disparity, radius, lens, metres):
    try:
        found = fr.calibrate_depth_by_blur(disparity, radius, lens)
    except (TypeError, ValueError):  # no map was found, or it does not vary with depth: refused
        return np.inf
    return np.nanmedian(np.abs(found.depth.values / metres.values - 1))


def main():
    for count in (4, 5, 9):
        for place in ("end", "middle"):
            errors = with_one_wrong(count, place, np.random.default_rng(0))
            percentiles = np.percentile(errors, (50, 90, 99), method="nearest")
            print(f"{count} points, one wrong ({place}):", *(f"{error:.1%}" for error in percentiles))
    for scene in SCENES:
        folder = SHARED / "data/rgbd" / scene
        if not folder.is_dir():
            print(f"Skipped: there is no {folder}")
            continue
        photo = fr.read_photo(next(folder.glob("rgb.*"))).pixels
        metres = fr.read_depth(folder / "depth.png", kind="metric")
        maps = {"FastDepth": fr.estimate_depth(photo, model=f"fastdepth:{SHARED / 'models/fastdepth_nyu.onnx'}")}
        if (folder / "disparity.png").exists():
            maps["disparity"] = fr.read_depth(folder / "disparity.png", kind="inverse", zero_unknown=True)
            for largest in LARGEST_RADII:
                errors = by_blur(photo, maps["disparity"], metres, largest)
                print(scene, largest, "pixels: true, estimate_blur, deblur:", *(f"{error:.2%}" for error in errors))
        for name, depth in maps.items():
            rng = np.random.default_rng(0)
            errors = [[by_points(depth, metres.values, count, rng) for _ in range(CHOICES)] for count in COUNTS]
            print(scene, name, *(f"{count}: {np.median(row):.1%}" for count, row in zip(COUNTS, errors, strict=True)))


if __name__ == "__main__":
    main()
