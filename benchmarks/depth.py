"""Blur and depth from one photo, held against what is known of real photos.

    python benchmarks/depth.py                     # all tables of docs/depth.md
    python benchmarks/depth.py a b                 # some of them
    python benchmarks/depth.py --data FOLDER a     # other photos, in folders as in ../shared/data
    pytest benchmarks/depth.py                     # the times alone

Pictures go to benchmarks/out/depth. The photos are not part of the project; depth_scenes.py finds them.
"""

import argparse
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from depth_peers import lower_is_nearer, package_blur_map, zhuo_sim
from depth_scenes import (
    area_under_curve,
    blurred,
    defocused,
    listed,
    measured_depth,
    pair,
    ramp,
    sharp_photos,
)
from matplotlib import pyplot as plt
from paper_b import header, row
from scipy.stats import spearmanr
from skimage.transform import resize

import fastrefocus as fr
from fastrefocus.samples import load_sample

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
FASTDEPTH = ROOT.parent / "shared" / "models" / "fastdepth_nyu.onnx"
OUT = ROOT / "benchmarks" / "out" / "depth"

Estimate = Callable[[np.ndarray], np.ndarray]

RADIUS: dict[str, Estimate] = {
    "estimate_blur": lambda photo: fr.estimate_blur(photo).radius,
    "Zhuo and Sim": zhuo_sim,
    "blur_map": package_blur_map,
}
RADII = (0, 1, 2, 3, 5, 7, 10, 12, 15)
LARGEST_OF_RAMP = 12.0
SHARPEST = 0.35  # pixels: what is sharper has no logarithm of its own
SIZES = ((384, 512), (768, 1024))
RUNS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(TABLES)}; default: all")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of defocus, multifocus, rgbd, sharp")
    arguments = parser.parse_args()
    if unknown := set(arguments.tables) - set(TABLES):
        parser.error(f"there is no table {', '.join(sorted(unknown))}")
    OUT.mkdir(parents=True, exist_ok=True)
    for name in arguments.tables or TABLES:
        TABLES[name](arguments.data)


def real_defocus(data: Path) -> None:
    """Table a: Spearman's correlation with the blur maps, where they are known."""
    ways = {**RADIUS, "lower is nearer": lower_is_nearer, **fastdepth()}
    table = Table("scene", *ways)
    for folder, held_back in listed(data, "defocus"):
        scene = defocused(folder)
        known = np.isfinite(scene.radius)
        maps = {name: way(scene.photo) for name, way in ways.items()}
        table.add(folder.name, held_back, *(spearman(maps[name], scene.radius) for name in ways))
        found, true = maps["estimate_blur"][known], scene.radius[known]
        print(f"    {folder.name}: median radius {np.median(found):.1f}, of the map {np.median(true):.1f} pixels")
        write_panels(f"defocus_{folder.name}", scene.photo, {"truth": scene.radius, **{k: maps[k] for k in RADIUS}})
    table.finish()


def near_and_far(data: Path) -> None:
    """Table b: is r(near) - r(far) of the right sign; area under the curve of in focus against out of focus."""
    columns = [f"{name}: {what}" for name in RADIUS for what in ("sign", "octaves apart", "area near", "area far")]
    table = Table("scene", *columns)
    for folder, held_back in listed(data, "multifocus"):
        photos = pair(folder)
        clear = photos.sharper != 0
        near_in_focus = photos.sharper[clear] > 0
        cells = []
        for name, way in RADIUS.items():
            near, far = way(photos.near), way(photos.far)
            apart = (np.log2(np.maximum(far, SHARPEST)) - np.log2(np.maximum(near, SHARPEST)))[clear]
            apart = np.where(near_in_focus, apart, -apart)
            cells += [np.mean(apart > 0), np.median(apart)]
            cells += [area_under_curve(-near[clear], near_in_focus), area_under_curve(-far[clear], ~near_in_focus)]
            if name == "estimate_blur":
                write_panels(
                    f"multifocus_{folder.name}", photos.near, {"near": near, "far": far, "truth": photos.sharper}
                )
        table.add(folder.name, held_back, *cells)
    table.finish(worst=True)


def known_radius(data: Path) -> None:
    """Table c: what is read of sharp photos that are blurred with a disk in linear light: median over the photos."""
    photos = list(sharp_photos(data))
    header("radius", *RADIUS)
    for radius in RADII:
        views = [blurred(light, radius) for light in photos]
        row(f"{radius}", *(f"{np.median([np.median(way(view)) for view in views]):.2f}" for way in RADIUS.values()))


def confidence(data: Path) -> None:
    """Table d: mean error in octaves of the half that the confidence calls better, and of the other."""
    header("photos", "all", "better half", "other half", "confidence that the error is below half an octave", "share")
    kinds = {
        "defocus": [defocused(folder) for folder, _ in listed(data, "defocus")],
        f"sharp, blurred by 0 to {LARGEST_OF_RAMP:g}": [ramp(light, LARGEST_OF_RAMP) for light in sharp_photos(data)],
    }
    for name, scenes in kinds.items():
        figures = []
        for scene in scenes:
            known = np.isfinite(scene.radius)
            estimate = fr.estimate_blur(scene.photo)
            found, true = (np.log2(np.maximum(r[known], SHARPEST)) for r in (estimate.radius, scene.radius))
            error, sure = np.abs(found - true), estimate.confidence[known]
            order = np.argsort(-sure, kind="stable")
            better, other = np.array_split(error[order], 2)
            figures.append([error.mean(), better.mean(), other.mean(), sure.mean(), np.mean(error <= 0.5)])
        if figures:
            row(name, *(f"{figure:.2f}" for figure in np.mean(figures, axis=0)))


def measured_scenes(data: Path) -> None:
    """Table e: Spearman's correlation with measured depth, in photos that are sharp everywhere."""
    ways: dict[str, Estimate] = {
        "prior alone": prior_depth,
        "estimate_depth": joined_depth,
        "estimate_blur": RADIUS["estimate_blur"],
        "lower is nearer": lower_is_nearer,
        **fastdepth(),
    }
    table = Table("scene", *ways)
    for folder, held_back in listed(data, "rgbd"):
        photo, depth = measured_depth(folder)
        table.add(folder.name, held_back, *(spearman(way(photo), depth) for way in ways.values()))
    table.finish()


def order(data: Path) -> None:
    """Table f: share of the pairs of a near and a far pixel that are in the right order, in photos of shallow focus."""
    ways = {"prior alone": prior_depth, "estimate_depth": joined_depth, "lower is nearer": lower_is_nearer}
    table = Table("scene", *(f"{name}: focused {side}" for name in ways for side in ("near", "far")))
    for folder, held_back in listed(data, "multifocus"):
        photos = pair(folder)
        clear = photos.sharper != 0
        far = photos.sharper[clear] < 0
        cells = [
            area_under_curve(way(photo)[clear], far) for way in ways.values() for photo in (photos.near, photos.far)
        ]
        table.add(folder.name, held_back, *cells)
    table.finish()


def times(data: Path) -> None:
    """Table g: time of a call of `estimate_blur` on one thread: the least and the median of some."""
    header("size", "least, ms", "median, ms")
    for size in SIZES:
        photo = sample(size)
        fr.estimate_blur(photo, threads=1)
        seconds = []
        for _ in range(RUNS):
            start = time.perf_counter()
            fr.estimate_blur(photo, threads=1)
            seconds.append(time.perf_counter() - start)
        row(f"{size[1]} x {size[0]}", f"{1000 * min(seconds):.0f}", f"{1000 * np.median(seconds):.0f}")


TABLES = {
    "a": real_defocus,
    "b": near_and_far,
    "c": known_radius,
    "d": confidence,
    "e": measured_scenes,
    "f": order,
    "g": times,
}


@pytest.mark.parametrize("size", SIZES)
def test_estimate_blur(benchmark, size):
    photo = sample(size)
    benchmark(lambda: fr.estimate_blur(photo, threads=1))


def prior_depth(photo: np.ndarray) -> np.ndarray:
    return fr.estimate_depth(photo, model=f"builtin:{files('fastrefocus.depth') / 'builtin.onnx'}").values


def joined_depth(photo: np.ndarray) -> np.ndarray:
    return fr.estimate_depth(photo).values


class Table:
    """Rows of figures, and their means over the scenes that constants were chosen on and over the others."""

    def __init__(self, *columns: str) -> None:
        header(*columns)
        self.rows: dict[bool, list[tuple[float, ...]]] = {False: [], True: []}

    def add(self, name: str, held_back: bool, *figures: float) -> None:
        self.rows[held_back].append(figures)
        row(f"{name}{' *' if held_back else ''}", *(f"{figure:.3f}" for figure in figures))

    def finish(self, *, worst: bool = False) -> None:
        groups = {"mean, tuned on": self.rows[False], "mean, held back (*)": self.rows[True]}
        for name, rows in {**groups, "mean, all": self.rows[False] + self.rows[True]}.items():
            if rows:
                row(name, *(f"{figure:.3f}" for figure in np.nanmean(rows, axis=0)))
                if worst:
                    row(name.replace("mean", "least"), *(f"{figure:.3f}" for figure in np.nanmin(rows, axis=0)))


def fastdepth() -> dict[str, Estimate]:
    """Return the network of ../shared/models, where it is there."""
    if not FASTDEPTH.exists():
        print(f"\nWithout FastDepth: there is no {FASTDEPTH}")
        return {}
    return {"FastDepth": lambda photo: fr.estimate_depth(photo, model=f"fastdepth:{FASTDEPTH}").values}


def spearman(found: np.ndarray, true: np.ndarray) -> float:
    known = np.isfinite(true)
    return float(spearmanr(found[known], true[known]).statistic)


def sample(size: tuple[int, int]) -> np.ndarray:
    return resize(load_sample("astronaut").pixels, size, anti_aliasing=True).astype(np.float32)


def write_panels(name: str, photo: np.ndarray, maps: dict[str, np.ndarray]) -> None:
    figure, axes = plt.subplots(1, 1 + len(maps), figsize=(4 * (1 + len(maps)), 3.4))
    axes[0].imshow(np.clip(photo, 0, 1), cmap="gray")
    for axis, (title, values) in zip(axes[1:], maps.items(), strict=True):
        figure.colorbar(axis.imshow(values, cmap="viridis"), ax=axis)
        axis.set_title(title)
    for axis in axes:
        axis.axis("off")
    figure.savefig(OUT / f"{name}.png", bbox_inches="tight", dpi=60)
    plt.close(figure)


if __name__ == "__main__":
    main()
