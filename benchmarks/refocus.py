"""The focus of real pairs of photos swapped: each refocused to look like the other.

    python benchmarks/refocus.py                     # the tables of docs/refocus.md
    python benchmarks/refocus.py --data FOLDER       # other photos, in a folder multifocus as in ../shared/data

Pictures go to benchmarks/out/refocus. The photos are not part of the project.
"""

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
from paper_a import PAPER
from paper_a_figures import write
from paper_b import header, row
from refocus_scenes import BORDER, Swap, swaps
from restoration import EDGE_SIGMAS, PAPER_GRID
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import fastrefocus as fr
from fastrefocus import pipeline

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
OUT = ROOT / "benchmarks" / "out" / "refocus"

FASTDEPTH = SHARED / "models" / "fastdepth_nyu.onnx"
RADII = (2, 4, 6, 10)  # tried beside the default; the best by the truth is reported


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED / "data", help="the folder that has multifocus")
    data = parser.parse_args().data
    warnings.simplefilter("ignore")  # that a blur does not explain all of a photo is measured here
    OUT.mkdir(parents=True, exist_ok=True)
    scores = {False: [], True: []}
    for scene in swaps(data):
        images = dict(refocused(scene))
        if not any(scores.values()):
            header("scene", *images)
        found = [score(image, scene.truth) for image in images.values()]
        row(scene.name, *(cell(*pair) for pair in found))
        scores[scene.held_back].append(found)
        write(OUT / f"{scene.name}.png", [("wanted", scene.truth), *images.items()], columns=4)
    for group, held_back in (("mean, tuned on", False), ("mean, held back", True)):
        if scores[held_back]:
            row(group, *(cell(*pair) for pair in np.mean(scores[held_back], axis=0)))


def refocused(scene: Swap) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what each way makes of a photo; paper A's one radius and the best radii are chosen by the truth."""
    yield "nothing", scene.photo
    if FASTDEPTH.exists():
        yield "paper A", as_paper(scene)
    with patch.object(pipeline, "deblur_photo", return_value=fr.deblur(scene.photo)):  # once for all of them
        yield from ours(scene, "ours", None)
        yield from ours(scene, "ours, pair's depth", scene.depth)


def as_paper(scene: Swap) -> np.ndarray:
    sharp = fr.deblur(
        scene.photo, channels="edges", psf_shape="gaussian", linearize=False, reference=scene.truth,
        edge_sigmas=EDGE_SIGMAS, **PAPER_GRID, **PAPER,
    ).image  # fmt: skip
    depth = fr.postprocess_depth(fr.estimate_depth(scene.photo, model=f"fastdepth:{FASTDEPTH}"))
    return fr.refocus(np.clip(sharp, 0, 1), depth=depth, focus=scene.focus, deblur=False, rendering="paper").image


def ours(scene: Swap, name: str, depth: fr.DepthMap | None) -> Iterator[tuple[str, np.ndarray]]:
    result = fr.refocus(scene.photo, depth=depth, focus=scene.focus, refine_depth=True)
    yield name, result.image
    others = [fr.refocus(scene.photo, depth=result.depth, focus=scene.focus, max_blur_px=r).image for r in RADII]
    yield f"{name}, best radius", max([result.image, *others], key=lambda image: score(image, scene.truth)[0])


def score(image: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return PSNR in dB and SSIM (Wang et al. 2004: Gaussian window) without the border."""
    inner = np.s_[BORDER:-BORDER, BORDER:-BORDER]
    pair = truth[inner], np.clip(image[inner], 0, 1)
    options = {"channel_axis": -1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return peak_signal_noise_ratio(*pair, data_range=1), structural_similarity(*pair, data_range=1, **options)


def cell(psnr: float, ssim: float) -> str:
    return f"{psnr:.2f}, {ssim:.3f}"


if __name__ == "__main__":
    main()
