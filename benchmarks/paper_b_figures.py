"""Paper B's figures 2 to 5, re-made from any pair of photos. Needs the docs extra (matplotlib)."""

from pathlib import Path

import numpy as np
from paper_a_figures import write
from paper_b_scenes import Scene, box
from scipy.ndimage import uniform_filter
from skimage.segmentation import mark_boundaries

import fastrefocus as fr

NAME = "paper_b_figure_{:02}.jpg"
DETAIL = 72  # side of the window that write_detail enlarges, pixels
COLOURS = {"object": (1, 1, 0), "target": (1, 0, 0), "elsewhere": (0, 1, 1)}


def write_outlines(folder: Path, scene: Scene) -> None:
    """Write both photos with the hand-drawn outlines: object yellow, target red, elsewhere blue."""
    folder.mkdir(parents=True, exist_ok=True)
    focused_masks = scene.masks | {"object": scene.masks.get("focused_object", scene.masks["object"])}
    panels = [
        ("out-of-focus photo", outlined(scene.defocused, scene.masks)),
        ("focused photo", outlined(scene.focused, focused_masks)),
    ]
    write(folder / "outlines.jpg", panels)


def outlined(photo: np.ndarray, masks: dict[str, np.ndarray]) -> np.ndarray:
    for part, colour in COLOURS.items():
        if part in masks:
            photo = mark_boundaries(photo, masks[part].astype(int), color=colour, mode="inner")
    return photo


def write_methods(path: Path, scene: Scene, images: dict[str, np.ndarray], scores: list[str], mask: np.ndarray) -> None:
    """Write the photo, the truth and the results side by side, cropped to the mask's box."""
    path.parent.mkdir(parents=True, exist_ok=True)
    inside = box(mask)
    panels = titled(images, scores, inside)
    write(path, [panels[0], ("focused photo, aligned", scene.truth[inside]), *panels[1:]], columns=3)


def write_confidence(folder: Path, scene: Scene, result: fr.SynthesisResult) -> None:
    """Write figure 2."""
    folder.mkdir(parents=True, exist_ok=True)
    inside = box(scene.masks["object"])
    panels = [
        ("(a) out-of-focus photo", scene.defocused[inside]),
        ("(b) confidence", np.nan_to_num(result.confidence)[inside]),
        ("(c) confidence, 5 x 5 average", np.nan_to_num(result.neighbourhood_confidence)[inside]),
    ]
    write(folder / NAME.format(2), panels)


def write_variants(folder: Path, scene: Scene, results: dict[str, fr.SynthesisResult], scores: list[str]) -> None:
    """Write figure 3, with the variants that the paper has no picture of."""
    folder.mkdir(parents=True, exist_ok=True)
    images = {name: result.image for name, result in results.items()}
    write(folder / NAME.format(3), titled(images, scores, box(scene.masks["object"])), columns=3)


def write_detail(folder: Path, scene: Scene, results: dict[str, fr.SynthesisResult]) -> None:
    """Write figure 3 once more, enlarged, where the last of the results is the furthest from the truth."""
    window = worst(list(results.values())[-1].image, scene)
    panels = [("out-of-focus photo", scene.defocused), ("focused photo", scene.truth)]
    panels += [(name, result.image) for name, result in results.items()]
    write(folder / "paper_b_figure_03_detail.jpg", [(title, image[window]) for title, image in panels], columns=4)


def worst(image: np.ndarray, scene: Scene) -> tuple[slice, slice]:
    mask = scene.masks["object"]
    error = np.where(mask, np.square(image - scene.truth).sum(-1), 0)
    # Windows that stick out of the photo do not count.
    middle = np.s_[DETAIL // 2 : -(DETAIL // 2)]
    mean = uniform_filter(error, DETAIL)[middle, middle]
    top, left = np.unravel_index(mean.argmax(), mean.shape)
    return np.s_[top : top + DETAIL, left : left + DETAIL]


def write_pair(folder: Path, scene: Scene, image: np.ndarray) -> None:
    """Write figure 4."""
    folder.mkdir(parents=True, exist_ok=True)
    inside = box(scene.masks["object"])
    write(folder / NAME.format(4), [("(a) out-of-focus photo", scene.defocused[inside]), ("(b) result", image[inside])])


def write_view(folder: Path, scene: Scene, image: np.ndarray) -> None:
    """Write figure 5."""
    folder.mkdir(parents=True, exist_ok=True)
    inside = box(scene.masks["object"])
    panels = [
        ("(a) focused photo, another view", scene.focused[box(scene.masks["focused_object"])]),
        ("out-of-focus photo", scene.defocused[inside]),
        ("(b) result", image[inside]),
    ]
    write(folder / NAME.format(5), panels)


def titled(
    images: dict[str, np.ndarray], scores: list[str], inside: tuple[slice, slice]
) -> list[tuple[str, np.ndarray]]:
    return [(f"{name}: {score}", image[inside]) for (name, image), score in zip(images.items(), scores, strict=True)]
