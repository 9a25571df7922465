"""Make the figures of the README and the docs that no benchmark makes: coffee.jpg, defocus.jpg and examples.jpg.

python docs/make_figures.py
"""

import sys
from pathlib import Path

import numpy as np

import fastrefocus as fr
from fastrefocus.samples import load_sample

HERE = Path(__file__).resolve().parent
FIGURES = HERE / "figures"
GAP = 6  # pixels between the panels

sys.path.append(str(HERE.parent / "benchmarks"))


def main() -> None:
    """Write the figures."""
    coffee()
    defocus(20)
    examples()


def coffee() -> None:
    """Write the sample photo, its depth, and two refocused photos."""
    photo = load_sample("coffee").pixels
    front = fr.refocus(photo, focus=(0.5, 0.75), max_blur_px=12, deblur=False)
    back = fr.refocus(photo, focus=(0.3, 0.05), max_blur_px=12, deblur=False)
    depth = np.repeat(front.depth.values[..., np.newaxis], 3, axis=2)
    write("coffee.jpg", [[photo, depth], [front.image, back.image]])


def defocus(radius: float) -> None:
    """Write the sharp photo, the truth, ours and paper A's blur of two scenes."""
    from defocus_peers import PEERS
    from defocus_scenes import load_scene

    rows = []
    for name in ("three layers", "bright points"):
        scene = load_scene(name)
        photo, coc = scene.photo(), scene.coc(radius)
        pictures = [photo, scene.truth(radius), fr.render_defocus(photo, coc), PEERS["paper A"](photo, coc)]
        rows.append([picture[60:460, 20:420] for picture in pictures])
    write("defocus.jpg", rows)


def examples() -> None:
    """Write a misfocused photo, a focused one from elsewhere, paper B's result, and ours."""
    from examples_scenes import brighter_from_elsewhere

    misfocused, focused, mask, psf = brighter_from_elsewhere()
    paper = fr.synthesize(misfocused, fr.PatchLibrary(focused, psf), mask=mask).image
    ours = fr.refocus_from_examples(misfocused, focused).image
    rows = (misfocused, focused), (paper, ours)
    write("examples.jpg", [[picture[:360, 60:480] for picture in row] for row in rows])


def write(name: str, rows: list[list[np.ndarray]]) -> None:
    """Write panels of one height, with gaps between them."""
    height = rows[0][0].shape[0]
    gap = np.ones((height, GAP, 3), np.float32)
    lines = [np.concatenate([part for panel in row for part in (gap, panel)][1:], axis=1) for row in rows]
    between = np.ones((GAP, lines[0].shape[1], 3), np.float32)
    fr.write_photo(FIGURES / name, np.concatenate([part for line in lines for part in (between, line)][1:]))


if __name__ == "__main__":
    main()
