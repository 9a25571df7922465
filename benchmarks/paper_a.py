"""Paper A's experiment on the NYU scenes: blur by depth, then deblur with its three variants.

    python benchmarks/paper_a.py          # the table of docs/benchmarks.md, and figures in benchmarks/out/paper_a
    python benchmarks/paper_a.py --docs   # the same figures from a free photo, in docs/figures

The first needs the photos and the network in ../shared, which are not part of the project.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paper_a_figures as figures
from skimage.metrics import peak_signal_noise_ratio
from skimage.transform import resize

import fastrefocus as fr
from fastrefocus.samples import load_sample

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
DOCS = ROOT / "docs" / "figures"
OUT = ROOT / "benchmarks" / "out" / "paper_a"

SIZE = 513
BORDER = 8  # the NYU photos have a blank border of about 7 pixels
SCENES = {"nyu_dining": "rgb.png", "nyu_lounge": "rgb.png", "nyu_basement": "rgb.jpg"}
PUBLISHED = {"rgb": 20.66, "intensity": 19.35, "edges": 21.97}
PUBLISHED_RADIUS = 5

#: As in the paper: anisotropic TV, plain ADMM, periodic borders, Gaussians, encoded values.
PAPER = {"tv": "anisotropic", "relaxation": 1.0, "boundary": "periodic", "tol": 0, "num_iter": 30}
GRID = {
    "sigmas": (1, 2, 3, 4, 5, 6, 7, 8),
    "lams": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
    "edge_sigmas": (1, 2, 4, 8),
}


@dataclass(frozen=True)
class Scene:
    name: str
    sharp: np.ndarray
    depth: fr.DepthMap  # before post-processing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", action="store_true", help="the figures from a free photo")
    if parser.parse_args().docs:
        run(free_scene(), DOCS)
        return
    print("| scene, depth | blurred px | unprocessed | RGB | intensity | edges |")
    print("| --- | --- | --- | --- | --- | --- |")
    published = " | ".join(f"{PUBLISHED[variant]:.2f}" for variant in PUBLISHED)
    print(f"| the paper's scene, its network | - | - | {published} |", flush=True)
    for scene in scenes():
        run(scene, OUT / scene.name)


def run(scene: Scene, folder: Path) -> None:
    """Print a row of the table and write the figures."""
    depth = fr.postprocess_depth(scene.depth)
    blurred = fr.blur_by_depth(scene.sharp, depth, **vars(fr.PAPER_A_FIGURE_5))
    results = {variant: restore(blurred, scene.sharp, variant) for variant in PUBLISHED}
    share = np.mean(depth.values > fr.PAPER_A_FIGURE_5.thresholds[0])
    cells = " | ".join(describe(result, scene.sharp) for result in results.values())
    print(f"| {scene.name} | {share:.0%} | {psnr(blurred, scene.sharp):.2f} | {cells} |", flush=True)
    figures.write_all(folder, scene.sharp, scene.depth, depth, blurred, results)


def free_scene() -> Scene:
    sharp = load_sample("coffee").pixels
    return Scene("coffee, built-in model", sharp, fr.estimate_depth(sharp))


def scenes() -> Iterator[Scene]:
    for name, file in SCENES.items():
        folder = SHARED / "data" / "rgbd" / name
        photo = fr.read_photo(folder / file).pixels
        metres = fr.read_photo(folder / "depth.png").pixels * np.float32(65.535)
        metres[metres == 0] = np.nan
        sharp = np.clip(resize(square(photo), (SIZE, SIZE), anti_aliasing=True), 0, 1).astype(np.float32)
        measured = resize(square(metres), (SIZE, SIZE), order=0, anti_aliasing=False)
        model = f"fastdepth:{SHARED / 'models' / 'fastdepth_nyu.onnx'}"
        yield Scene(f"{name}, measured depth", sharp, fr.DepthMap(measured, "metric"))
        yield Scene(f"{name}, FastDepth", sharp, fr.estimate_depth(sharp, model=model))


def square(image: np.ndarray) -> np.ndarray:
    """Return the middle square without the blank border."""
    height, width = image.shape[:2]
    side = min(height, width) - 2 * BORDER
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def restore(blurred: np.ndarray, sharp: np.ndarray, variant: str) -> fr.DeconvolutionResult:
    grid = GRID if variant == "edges" else {name: GRID[name] for name in ("sigmas", "lams")}
    return fr.deblur(blurred, channels=variant, psf_shape="gaussian", linearize=False, reference=sharp, **grid, **PAPER)


def describe(result: fr.DeconvolutionResult, sharp: np.ndarray) -> str:
    edge = "" if result.edge_sigma is None else f", edge {result.edge_sigma:g}"
    best = f"{psnr(result.image, sharp):.2f} (r {result.sigma:g}, lam {result.lam:g}{edge})"
    published_radius = max(score for candidate, score in result.scores.items() if candidate.sigma == PUBLISHED_RADIUS)
    return f"{best}; r 5: {published_radius:.2f}"


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    return peak_signal_noise_ratio(reference, image, data_range=1)


if __name__ == "__main__":
    main()
