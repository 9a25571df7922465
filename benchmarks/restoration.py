"""Restoration of real and of blurred photos, beside other ways and beside what is reachable.

    python benchmarks/restoration.py                     # all tables of docs/restoration.md
    python benchmarks/restoration.py a c                 # some of them
    python benchmarks/restoration.py --data FOLDER a     # other photos, in folders as in ../shared/data
    python benchmarks/restoration.py --docs              # the figure of docs/restoration.md

Pictures go to benchmarks/out/restoration. The photos are not part of the project; restoration_scenes.py finds them.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from paper_a import PAPER
from paper_a_figures import write
from paper_b import header, row
from paper_b_scenes import Scene, box
from restoration_peers import PEERS, best
from restoration_scenes import (
    Exposures,
    blurred_and_cropped,
    defocus_scene,
    depth_scenes,
    error_map,
    listed,
    measured_psfs,
    noisy,
    psnr,
    psnr_of,
    regions,
    sharp_photos,
    sharper,
    sigma_map,
    worst_region,
)
from scipy.ndimage import binary_erosion

import fastrefocus as fr
from fastrefocus.deconvolution.selection import choose_psf
from fastrefocus.light import decode, luminance
from fastrefocus.optics.psf import psf_of_sigma
from fastrefocus.samples import load_sample

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
OUT = ROOT / "benchmarks" / "out" / "restoration"
DOCS = ROOT / "docs" / "figures"

TUNED = ("pixel4_001", "pixel4_014")  # the constants were found on these
VARIANTS = ("rgb", "intensity", "edges")  # paper A's
PAPER_GRID = {"sigmas": (1, 2, 3), "lams": (1e-2, 3e-2, 1e-1)}  # the best of paper_a.py lie within
EDGE_SIGMAS = (2, 8)
BORDER_PSFS = {"disk, radius 4.5": fr.disk_psf(9), "Gaussian, sigma 2.5": fr.gaussian_psf(2.5)}
VISIBLE = 0.5 / 255  # a change that can make another 8-bit value
LAMS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
COLOURS = {
    "rgb": {"channels": "rgb", "tv": "isotropic"},
    "rgb, vector TV": {"channels": "rgb", "tv": "vector"},
    "luminance": {"channels": "luminance"},
    "intensity": {"channels": "intensity"},
    "edges": {"channels": "edges"},
}
BLURS = {  # shape and standard deviation
    "among the candidates": (("disk", 1.25), ("disk", 2.0), ("gaussian", 1.8)),
    "between candidates": (("disk", 1.3), ("disk", 2.1), ("gaussian", 1.9)),
}
NOISES = (0.01, 0.002)
METHODS = {
    "TV": {"num_iter": 150, "tol": 1e-4},
    "half-quadratic": {"method": "half-quadratic"},
    "plug-and-play": {"method": "plug-and-play"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(TABLES)}; default: all")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of defocus, multifocus, rgbd, sharp, kernels")
    parser.add_argument("--docs", action="store_true", help="the figure from a free photo")
    arguments = parser.parse_args()
    if unknown := set(arguments.tables) - set(TABLES):
        parser.error(f"there is no table {', '.join(sorted(unknown))}")
    warnings.simplefilter("ignore")  # that a blur does not explain all of a photo is measured here
    OUT.mkdir(parents=True, exist_ok=True)
    if arguments.docs:
        draw_scores()
        return
    for name in arguments.tables or TABLES:
        TABLES[name](arguments.data)


def real_defocus(data: Path) -> None:
    """Table a: PSNR where the map is known, its gain over the photo, and the gain of the worst blocks."""
    grid = measured_psfs(data)
    gains = {}
    for folder in listed(data, "defocus"):
        scene = defocus_scene(folder)
        before = error_map(scene.blurred, scene)
        images = {"photo": scene.blurred, **dict(restored(scene, grid))}
        if not gains:
            header("scene", *images)
        errors = {name: error_map(image, scene) for name, image in images.items()}
        gains[scene.name] = {name: psnr_of(error) - psnr_of(before) for name, error in errors.items()}
        row(scene.name, *(gain_cell(before, error) for error in errors.values()))
        write_panels(scene.name, {"sharp": scene.sharp, **images}, scene.blurred.max())
    groups = {"tuned on": [], "not tuned on": []}
    for name in gains:
        groups["tuned on" if name in TUNED else "not tuned on"].append(name)
    for group, names in {**groups, "all": list(gains)}.items():
        if names:
            methods = gains[names[0]]
            row(f"mean gain, {group}", *(f"{np.mean([gains[name][m] for name in names]):+.2f}" for m in methods))


def restored(scene: Exposures, grid: fr.PsfGrid | None) -> Iterator[tuple[str, np.ndarray]]:
    photo = scene.blurred
    for peer in PEERS:
        yield peer, best(photo, peer, lambda image: psnr_of(error_map(image, scene)))[0]
    yield "map, disks", fr.deblur(photo, blur_radius=scene.radius, linearize=False).image
    if grid is not None:
        yield "map, measured PSFs", fr.deblur(photo, blur_radius=scene.radius, psf_shape=grid, linearize=False).image
    yield "blind", fr.deblur(photo, linearize=False).image


def gain_cell(before: np.ndarray, after: np.ndarray) -> str:
    if after is before or np.array_equal(before, after, equal_nan=True):
        return f"{psnr_of(after):.2f}"
    return f"{psnr_of(after):.2f} ({psnr_of(after) - psnr_of(before):+.2f}; {worst_region(before, after):+.2f})"


def real_regions(data: Path) -> None:
    """Table b: gains inside the region, against the other photo; and how far the in-focus area stays the photo."""
    header("region", "px", "fitted disk, radius", "photo", "blind", "in-focus area: changed px, PSNR to the photo",
           "chosen in the region", "with it")  # fmt: skip
    gains = []
    for scene in regions(data):
        mask = scene.masks["object"]
        blind = fr.deblur(scene.defocused).image
        chosen, image = deblurred_in(scene, mask)
        before = psnr(scene.defocused, scene.truth, mask)
        gains.append([psnr(after, scene.truth, mask) - before for after in (blind, image)])
        row(
            scene.name, str(mask.sum()), f"{scene.calibration.disk.diameter / 2:g}", f"{before:.2f}",
            f"{gains[-1][0]:+.2f}", in_focus_cell(scene, blind), chosen, f"{gains[-1][1]:+.2f}",
        )  # fmt: skip
        inside = box(mask, margin=24)
        panels = {"photo": scene.defocused, "other photo": scene.truth, "blind": blind, "chosen in the region": image}
        write_panels(scene.name, {name: panel[inside] for name, panel in panels.items()})
        write_panels(f"{scene.name}, whole", {"photo": scene.defocused, "blind": blind})
    if gains:
        row("mean", *["-"] * 3, f"{np.mean(gains, axis=0)[0]:+.2f}", "-", "-", f"{np.mean(gains, axis=0)[1]:+.2f}")


def deblurred_in(scene: Scene, mask: np.ndarray) -> tuple[str, np.ndarray]:
    """Deblur with the PSF chosen inside a mask, and take what is outside as it is."""
    psf = choose_psf(luminance(decode(scene.defocused)), mask=mask).psf
    if psf is None:
        return "sharp", scene.defocused
    radius = np.where(mask, np.float32(2 * psf.sigma), np.float32(0))
    image = fr.deblur(scene.defocused, blur_radius=radius, psf_shape=psf.shape).image
    return f"{psf.shape}, radius {2 * psf.sigma:g}", image


def in_focus_cell(scene: Scene, image: np.ndarray) -> str:
    focused = binary_erosion(sharper(scene.defocused, scene.focused), iterations=6)
    if not focused.any():
        return "-"
    changed = np.any(np.abs(image - scene.defocused) > VISIBLE, axis=-1)[focused].mean()
    return f"{changed:.0%}, {psnr(image, scene.defocused, focused):.1f}"


def paper_scenes(data: Path) -> None:
    """Table c: paper A's protocol; the last column is the largest change of a pixel that is in focus."""
    header("scene", "blurred px", "photo", *(f"paper, {name}" for name in VARIANTS), "map, Gaussians", "in-focus area")
    gains = []
    for scene in depth_scenes(data):
        blurred = fr.blur_by_depth(scene.sharp, scene.depth, **vars(fr.PAPER_A_FIGURE_5))
        sigma = sigma_map(scene.depth)
        images = {"photo": blurred}
        images |= {f"paper, {name}": restored_as_paper(blurred, scene.sharp, name) for name in VARIANTS}
        layered = fr.deblur(blurred, blur_radius=2 * sigma, psf_shape="gaussian", linearize=False).image
        images["map, Gaussians"] = layered
        scores = [psnr(image, scene.sharp) for image in images.values()]
        gains.append([scores[-1] - score for score in scores[:-1]])
        kept = np.abs(layered - blurred)[sigma == 0].max()
        row(scene.name, f"{(sigma > 0).mean():.0%}", *(f"{score:.2f}" for score in scores), f"{kept:g}")
        write_panels(scene.name, {"sharp": scene.sharp, **images})
    if gains:
        row("mean gain of the map over it", "-", *(f"{gain:+.2f}" for gain in np.mean(gains, axis=0)), "-", "-")


def restored_as_paper(blurred: np.ndarray, sharp: np.ndarray, variant: str) -> np.ndarray:
    edges = {"edge_sigmas": EDGE_SIGMAS} if variant == "edges" else {}
    return fr.deblur(
        blurred,
        channels=variant,
        psf_shape="gaussian",
        linearize=False,
        reference=sharp,
        **PAPER_GRID,
        **edges,
        **PAPER,
    ).image


def borders(data: Path) -> None:
    """Table d: photos blurred with what lies around them; the oracle's photo goes on periodically, as it believes."""
    header("PSF", "photo", "periodic", "reflect", "masked", "periodic oracle", "masked - oracle")
    for name, psf in BORDER_PSFS.items():
        table = []
        for _, photo in sharp_photos(data, colour=False):
            blurred, sharp = blurred_and_cropped(photo, psf, 0.005)
            wrapped = noisy(blurred_periodically(sharp, psf), 0.005)
            scores = [best_lam(blurred, sharp, psf, boundary=kind)[0] for kind in ("periodic", "reflect", "masked")]
            table.append([psnr(blurred, sharp), *scores, best_lam(wrapped, sharp, psf, boundary="periodic")[0]])
        if table:
            mean = np.mean(table, axis=0)
            row(name, *(f"{value:.2f}" for value in mean), f"{mean[-2] - mean[-1]:+.2f}")


def blurred_periodically(photo: np.ndarray, psf: np.ndarray) -> np.ndarray:
    kernel = np.zeros(photo.shape)
    kernel[: psf.shape[0], : psf.shape[1]] = psf
    kernel = np.roll(kernel, [-(n // 2) for n in psf.shape], (0, 1))
    return np.fft.irfft2(np.fft.rfft2(photo) * np.fft.rfft2(kernel), photo.shape).astype(np.float32)


def best_lam(
    blurred: np.ndarray, sharp: np.ndarray, psf: np.ndarray, lams: Iterable[float] = LAMS, **options: object
) -> tuple[float, float, np.ndarray]:
    """Return the best PSNR over lam, the seconds of that run, and its image."""
    results = []
    for lam in lams:
        start = time.perf_counter()
        image = fr.deconvolve(blurred, psf, lam=lam, threads=1, **options).image
        results.append((psnr(image, sharp), time.perf_counter() - start, image))
    return max(results, key=lambda result: result[0])


def colours(data: Path) -> None:
    """Table e: what of a colour photo is deconvolved, in linear light and as encoded; lam by the truth."""
    cases = [(name, *blurred_and_cropped(photo, fr.disk_psf(7), 0.005, light=True), 3.5, None)
             for name, photo in sharp_photos(data, colour=True)]  # fmt: skip
    for scene in [scene for scene in regions(data) if "(found)" not in scene.name][:2]:
        mask = scene.masks["object"]
        inside = box(mask, margin=32)
        cases.append((scene.name, scene.defocused[inside], scene.truth[inside],
                      scene.calibration.disk.diameter / 2, mask[inside]))  # fmt: skip
    header("photo", "blurred", *(f"{name}, {kind}" for kind in ("linear", "encoded") for name in COLOURS))
    table = []
    for name, blurred, sharp, radius, mask in cases:
        results = [
            best_colour(blurred, sharp, radius, mask, linearize=linearize, **options)
            for linearize in (True, False)
            for options in COLOURS.values()
        ]
        scores = [psnr(image, sharp, mask) for image in (blurred, *results)]
        row(name, *(f"{score:.2f}" for score in scores))
        write_panels(f"colour, {name}", {"blurred": blurred, **dict(zip(COLOURS, results, strict=False))})
        if mask is None:
            table.append(scores)
    if table:
        row("mean of the photos blurred here", *(f"{score:.2f}" for score in np.mean(table, axis=0)))


def best_colour(
    blurred: np.ndarray, sharp: np.ndarray, radius: float, mask: np.ndarray | None, **options: object
) -> np.ndarray:
    everywhere = np.full(blurred.shape[:2], radius, np.float32)

    def run(lam: float) -> np.ndarray:
        return fr.deblur(blurred, blur_radius=everywhere, lams=[lam], **options).image

    return max((run(lam) for lam in LAMS[1:]), key=lambda image: psnr(image, sharp, mask))


def blind_choice(data: Path) -> None:
    """Table f: what `deblur` loses to the true PSF with the best lam, and what it does to sharp photos."""
    blurs = [blur for group in BLURS.values() for blur in group]
    header("photo", *(f"{shape} {sigma:g}, noise {noise:g}" for noise in NOISES for shape, sigma in blurs),
           "sharp: changed px, PSNR to itself")  # fmt: skip
    table = []
    for name, photo in sharp_photos(data, colour=False):
        table.append([loss(photo, psf_of_sigma(sigma, shape), noise) for noise in NOISES for shape, sigma in blurs])
        row(name, *(f"{value:.2f}" for value in table[-1]), kept_cell(photo))
    if table:
        row("mean", *(f"{value:.2f}" for value in np.mean(table, axis=0)), "-")
        parts = iter(np.hsplit(np.array(table), len(NOISES) * len(BLURS)))
        for noise in NOISES:
            for group in BLURS:
                part = next(parts)
                print(f"\nNoise {noise:g}, PSF {group}: mean loss {part.mean():.2f} dB, median {np.median(part):.2f}")


def loss(photo: np.ndarray, psf: np.ndarray, noise: float) -> float:
    blurred, sharp = blurred_and_cropped(photo, psf, noise)
    oracle, *_ = best_lam(blurred, sharp, psf, [share * noise for share in (0.01, 0.03, 0.1, 0.3)])
    return oracle - psnr(fr.deblur(blurred, linearize=False).image, sharp)


def kept_cell(photo: np.ndarray) -> str:
    image = fr.deblur(photo, linearize=False).image
    changed = np.mean(np.abs(image - photo) > VISIBLE)
    return f"{changed:.0%}, {psnr(image, photo):.1f}" if changed else "0%"


def denoisers(data: Path) -> None:
    """Table g: the three iterative methods at their best lam."""
    header("noise", "photo", *(f"{name}: PSNR, s" for name in METHODS))
    psf = fr.disk_psf(7)
    for noise in NOISES:
        table = []
        for _, photo in sharp_photos(data, colour=False):
            blurred, sharp = blurred_and_cropped(photo, psf, noise)
            runs = [best_lam(blurred, sharp, psf, lams(name, noise), **options) for name, options in METHODS.items()]
            table.append([psnr(blurred, sharp), *(value for run in runs for value in run[:2])])
        if table:
            mean = np.mean(table, axis=0)
            pairs = zip(mean[1::2], mean[2::2], strict=True)
            row(f"{noise:g}", f"{mean[0]:.2f}", *(f"{score:.2f}, {seconds:.2f}" for score, seconds in pairs))


def lams(method: str, noise: float) -> Iterable[float]:
    """Return the weights to try; plug-and-play's are shares of the noise's variance."""
    return (noise**2 * share for share in (0.05, 0.15, 0.5)) if method == "plug-and-play" else LAMS


def write_panels(name: str, images: dict[str, np.ndarray], peak: float = 1.0) -> None:
    """Write images side by side; linear grey ones brightened."""
    panels = []
    for title, image in images.items():
        bright = image if peak == 1 or title == "sharp" else image / peak
        panels.append((title, np.sqrt(np.clip(bright, 0, 1)) if peak != 1 else bright))
    write(OUT / f"{name}.png", panels, columns=min(4, len(panels)))


def draw_scores() -> None:
    """Draw how plausible each PSF is for a free photo that was blurred by a disk."""
    photo = luminance(load_sample("coffee").pixels)
    blurred, _ = blurred_and_cropped(photo, fr.disk_psf(7), 0.005, side=384)
    scores = choose_psf(blurred).scores
    top = max(scores.values())
    figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
    for shape in ("disk", "gaussian"):
        points = [(2 * psf.sigma, score - top) for psf, score in scores.items() if psf and psf.shape == shape]
        axis.plot(*zip(*points, strict=True), marker=".", label=shape)
    axis.axhline(scores[None] - top, color="gray", linestyle=":", label="no blur")
    axis.axvline(3.5, color="black", linewidth=0.5)
    axis.set(xlabel="radius (2 sigma), pixels", ylabel="log evidence, nats", yscale="symlog", ylim=(None, 3))
    axis.legend()
    figure.savefig(DOCS / "blind_scores.svg", metadata={"Date": None})
    plt.close(figure)


TABLES: dict[str, Callable[[Path], None]] = {
    "a": real_defocus,
    "b": real_regions,
    "c": paper_scenes,
    "d": borders,
    "e": colours,
    "f": blind_choice,
    "g": denoisers,
}

if __name__ == "__main__":
    main()
