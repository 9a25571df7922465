"""Paper A's figures 3 to 10, re-made from any photo with depth. Needs the docs extra (matplotlib)."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from skimage.metrics import peak_signal_noise_ratio

import fastrefocus as fr

mpl.use("Agg")
from matplotlib import pyplot as plt

WIDTH_INCHES = 3.2  # a panel
NEAR = fr.ThresholdBlur(sigmas=(2, 3, 5), thresholds=(0.4, 0.3, 0.2))


def write_all(
    folder: Path,
    sharp: np.ndarray,
    raw: fr.DepthMap,
    depth: fr.DepthMap,
    blurred: np.ndarray,
    results: dict[str, fr.DeconvolutionResult],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write(
        folder / "figure_03.jpg",
        [
            ("photo", sharp),
            (f"depth ({raw.kind})", scaled(raw.values)),
            ("after post-processing", depth.values),
        ],
    )
    single = [
        (f"sigma {s}", fr.blur_by_depth(sharp, np.ones_like(depth.values), sigmas=[s], thresholds=[0]))
        for s in (2, 5, 8)
    ]
    masked = [(f"sigma 5, depth > {t}", fr.blur_by_depth(sharp, depth, sigmas=[5], thresholds=[t])) for t in (0.5, 0.8)]
    write(folder / "figure_04.jpg", single + masked, columns=3)
    write(folder / "figure_05.jpg", [("sigmas 2, 3, 5, 8 at 0.8, 0.83, 0.86, 0.97", blurred)])
    rgb = results["rgb"].image
    write(folder / "figure_06.jpg", [("photo", sharp), ("blurred", blurred), (label("rgb", rgb, sharp), rgb)])
    write(folder / "figure_07.jpg", [(name, rgb[..., i]) for i, name in enumerate(("red", "green", "blue"))])
    write(folder / "figure_08.jpg", [(label(name, r.image, sharp), r.image) for name, r in results.items()])
    best = max(results.values(), key=lambda r: peak_signal_noise_ratio(sharp, r.image, data_range=1)).image
    near = fr.blur_by_depth(np.clip(best, 0, 1), depth, **vars(NEAR), side="near")
    write(folder / "figure_09.jpg", [("recovered", best), ("near side blurred", near)])
    write(
        folder / "figure_10.jpg",
        [
            ("photo", sharp),
            ("depth", depth.values),
            ("blurred", blurred),
            ("recovered", best),
            ("refocused", near),
        ],
    )


def write(path: Path, panels: list[tuple[str, np.ndarray]], columns: int | None = None) -> None:
    columns = columns or len(panels)
    rows = -(-len(panels) // columns)
    height, width = panels[0][1].shape[:2]
    size = (WIDTH_INCHES * columns, (WIDTH_INCHES * height / width + 0.3) * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, image) in zip(axes.flat, panels, strict=False):
        axis.imshow(np.clip(image, 0, 1), cmap="gray" if image.ndim == 2 else None, vmin=0, vmax=1)
        axis.set_title(title, fontsize=8)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def label(name: str, image: np.ndarray, sharp: np.ndarray) -> str:
    return f"{name}, {peak_signal_noise_ratio(sharp, image, data_range=1):.2f} dB"


def scaled(values: np.ndarray) -> np.ndarray:
    low, high = np.nanmin(values), np.nanmax(values)
    return np.nan_to_num((values - low) / (high - low))
