"""Make the README's figure, docs/figures/coffee.jpg: the sample photo, its depth, and two refocused photos.

python docs/make_figures.py
"""

from pathlib import Path

import numpy as np

import fastrefocus as fr
from fastrefocus.samples import load_sample

FIGURES = Path(__file__).resolve().parent / "figures"
GAP = 6  # pixels between the panels


def main() -> None:
    """Write the figure."""
    photo = load_sample("coffee").pixels
    front = fr.refocus(photo, focus=(0.5, 0.75), max_blur_px=12, deblur=False)
    back = fr.refocus(photo, focus=(0.3, 0.05), max_blur_px=12, deblur=False)
    depth = np.repeat(front.depth.values[..., np.newaxis], 3, axis=2)
    gap = np.ones((photo.shape[0], GAP, 3), np.float32)
    top = np.concatenate([photo, gap, depth], axis=1)
    bottom = np.concatenate([front.image, gap, back.image], axis=1)
    between = np.ones((GAP, top.shape[1], 3), np.float32)
    fr.write_photo(FIGURES / "coffee.jpg", np.concatenate([top, between, bottom]))


if __name__ == "__main__":
    main()
