"""Paper B's experiment on real photos: repair an out-of-focus object with patches of a focused photo.

    python benchmarks/paper_b.py              # the tables of docs/benchmarks.md, and pictures in benchmarks/out/paper_b
    python benchmarks/paper_b.py golfer book  # some scenes only
    python benchmarks/paper_b.py --options    # what the options change, against the defaults
    python benchmarks/paper_b.py --docs       # the paper's figures from free photos, in docs/figures

All but the last need the photos in ../shared, which are not part of the project. paper_b_scenes.py says how the focused
photo is mapped to the defocused one; so mapped it is the truth, and gives the library.
"""

import argparse
from pathlib import Path

import numpy as np
import paper_b_figures as figures
from paper_b_scenes import OUTLINES, Scene, box, load, load_free
from scipy.ndimage import binary_erosion
from skimage.metrics import structural_similarity

import fastrefocus as fr
from fastrefocus.light import decode, encode

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs" / "figures"
OUT = ROOT / "benchmarks" / "out" / "paper_b"
SCENES = [name for name, outlines in OUTLINES.items() if "folder" in outlines]

THREADS = 1  # the pictures do not depend on it

#: What is repaired, and where the library's patches come from.
SETTINGS = {"ideal": ("object", "object"), "harder": ("target", "elsewhere")}

#: Section 3 of the paper. The last is its best, and the default.
VARIANTS = {
    "image-scene only (3a)": {"texture": False},
    "causal, scanline (3b)": {"neighbourhood": "causal", "order": "scanline"},
    "causal, confidence": {"neighbourhood": "causal", "order": "confidence"},
    "symmetric, scanline": {"neighbourhood": "symmetric", "order": "scanline"},
    "symmetric, random": {"neighbourhood": "symmetric", "order": "random"},
    "symmetric, confidence (3c)": {"neighbourhood": "symmetric", "order": "confidence"},
}

SIZES = (5, 9)  # of the patches, for `own_place`

#: What the paper leaves to future work, one at a time.
OPTIONS = {
    **{f"patch_size {size}": {"patch_size": size} for size in (3, 7, 9, 11)},
    **{f"texture_weight {weight:g}": {"texture_weight": weight} for weight in (0.25, 0.5, 2, 4)},
    **{f"passes {passes}": {"passes": passes} for passes in (2, 3)},
    **{f"candidates {count}": {"candidates": count} for count in (5, 50)},
    "candidate_values clusters": {"candidate_values": "clusters"},
    "confidence contrast": {"confidence": "contrast"},
    "order dynamic": {"order": "dynamic"},
    "neighbourhood causal": {"neighbourhood": "causal"},
    "texture off": {"texture": False},
}
#: The scenes that options may be chosen by; the others tell whether the choice holds.
CHOSEN_BY = ("golfer", "torso", "globe", "doll")

#: Candidates for lam; the truth chooses.
WIENER_LAMS = (0.003, 0.006, 0.01, 0.02, 0.03, 0.06, 0.1, 0.2)
TV_LAMS = (0.0003, 0.0006, 0.001, 0.002, 0.003, 0.006, 0.01, 0.02)
TV = {"method": "admm-tv", "num_iter": 100, "tol": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"of {', '.join(SCENES)}; default: all")
    parser.add_argument("--options", action="store_true", help="what the options change")
    parser.add_argument("--docs", action="store_true", help="the figures from free photos")
    arguments = parser.parse_args()
    if unknown := set(arguments.scenes) - set(SCENES):
        parser.error(f"there is no scene {', '.join(sorted(unknown))}")
    if arguments.docs:
        run_free()
        return
    scenes = [load(name) for name in arguments.scenes or SCENES]
    if arguments.options:
        run_options([scene for scene in scenes if "target" in scene.masks])
    else:
        run_real(scenes)


def run_real(scenes: list[Scene]) -> None:
    header("scene", "folder", "px", "offset x, y", "magnification", "gain R, G, B", "disk, px (as encoded)", "residual")
    for scene in scenes:
        row(scene.name, *describe(scene))
        figures.write_outlines(OUT / scene.name, scene)
    aligned = [scene for scene in scenes if "target" in scene.masks]
    for setting, (repaired, source) in SETTINGS.items():
        header(
            setting,
            "px repaired, px of the library",
            "unprocessed",
            "Wiener",
            "TV",
            "paper",
            "paper, blurred as encoded",
        )
        for scene in aligned:
            row(scene.name, *compare_methods(scene, repaired, source, OUT / scene.name / f"{setting}.jpg"))
    header("ideal", *VARIANTS)
    for scene in aligned:
        row(scene.name, *compare_variants(scene, OUT / scene.name))
    header("ideal, pixels from their own place", *(f"{size} x {size}" for size in SIZES))
    for scene in aligned:
        row(scene.name, *(f"{own_place(scene, size):.0%}" for size in SIZES))
    for scene in scenes:
        if "focused_object" in scene.masks:
            figures.write_view(OUT / scene.name, scene, synthesize(scene, "object", "focused_object").image)


def run_options(scenes: list[Scene]) -> None:
    """Print by how many dB each option changes the PSNR, averaged over the scenes."""
    groups = {
        ", ".join(CHOSEN_BY): [scene for scene in scenes if scene.name in CHOSEN_BY],
        "the others": [scene for scene in scenes if scene.name not in CHOSEN_BY],
    }
    columns = [(setting, name) for setting in SETTINGS for name, group in groups.items() if group]
    header("option", *(f"{setting}: {name}" for setting, name in columns))
    default = [mean_psnr(groups[name], setting) for setting, name in columns]
    row("default, dB", *(f"{psnr:.2f}" for psnr in default))
    for option, values in OPTIONS.items():
        changed = [mean_psnr(groups[name], setting, **values) for setting, name in columns]
        row(option, *(f"{psnr - before:+.2f}" for psnr, before in zip(changed, default, strict=True)))


def mean_psnr(scenes: list[Scene], setting: str, **options: object) -> float:
    repaired, source = SETTINGS[setting]
    images = [synthesize(scene, repaired, source, **options).image for scene in scenes]
    pairs = zip(images, scenes, strict=True)
    return float(np.mean([measure(image, scene.truth, scene.masks[repaired])[0] for image, scene in pairs]))


def run_free() -> None:
    """Write the paper's figures 2 to 5 from free photos."""
    header("free photo", *VARIANTS)
    cat = load_free("chelsea")
    row(cat.name, *compare_variants(cat, DOCS))
    astronaut = load_free("astronaut")
    figures.write_pair(DOCS, astronaut, synthesize(astronaut, "object", "object").image)
    turned = load_free("chelsea", turned=True)
    result = synthesize(turned, "object", "focused_object").image
    figures.write_view(DOCS, turned, result)
    header("free photo, view turned", "unprocessed", "paper")
    row(turned.name, *(cell(image, turned, "object") for image in (turned.defocused, result)))


def header(*cells: str) -> None:
    print()
    row(*cells)
    row(*["---"] * len(cells))


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def describe(scene: Scene) -> list[str]:
    found = scene.calibration
    y, x = found.offset
    return [
        OUTLINES[scene.name]["folder"],
        str(scene.masks["object"].sum()),
        f"{x:.2f}, {y:.2f}",
        f"{found.magnification:.4f}",
        ", ".join(f"{value:.3f}" for value in found.gain),
        f"{found.disk.diameter} ({fit_encoded(scene).diameter})",
        f"{found.residual:.4f}",
    ]


def compare_methods(scene: Scene, repaired: str, source: str, picture: Path) -> list[str]:
    mask = scene.masks[repaired]
    wiener, wiener_lam = deconvolve_best(scene, mask, WIENER_LAMS, method="wiener")
    tv, tv_lam = deconvolve_best(scene, mask, TV_LAMS, **TV)
    images = {
        "unprocessed": scene.defocused,
        f"Wiener, lam {wiener_lam:g}": wiener,
        f"TV, lam {tv_lam:g}": tv,
        "paper": synthesize(scene, repaired, source).image,
        "paper, blurred as encoded": synthesize(scene, repaired, source, linearize=False).image,
    }
    cells = [cell(image, scene, repaired) for image in images.values()]
    figures.write_methods(picture, scene, images, cells, mask)
    cells[1] += f" ({wiener_lam:g})"
    cells[2] += f" ({tv_lam:g})"
    return [f"{mask.sum()}, {scene.masks[source].sum()}", *cells]


def compare_variants(scene: Scene, folder: Path) -> list[str]:
    results = {name: synthesize(scene, "object", "object", **options) for name, options in VARIANTS.items()}
    cells = [cell(result.image, scene, "object") for result in results.values()]
    figures.write_confidence(folder, scene, results["symmetric, confidence (3c)"])
    figures.write_variants(folder, scene, results, cells)
    figures.write_detail(folder, scene, results)
    return cells


def synthesize(
    scene: Scene, repaired: str, source: str, *, linearize: bool = True, patch_size: int = 5, **options: object
) -> fr.SynthesisResult:
    library = build_library(scene, source, linearize=linearize, patch_size=patch_size)
    return fr.synthesize(scene.defocused, library, mask=scene.masks[repaired], threads=THREADS, **options)


def build_library(scene: Scene, source: str, *, linearize: bool = True, patch_size: int = 5) -> fr.PatchLibrary:
    psf = scene.psf if linearize else fit_encoded(scene).psf
    masks = scene.masks[source]
    return fr.PatchLibrary(scene.focused, psf, masks=masks, patch_size=patch_size, linearize=linearize)


def own_place(scene: Scene, patch_size: int) -> float:
    """Return the share of pixels that come from their own place in the focused photo, give or take a pixel."""
    library = build_library(scene, "object", patch_size=patch_size)
    source = synthesize(scene, "object", "object", patch_size=patch_size).source
    found = library.positions[source[scene.masks["object"]], 1:]
    return float(np.mean(np.abs(found - np.argwhere(scene.masks["object"])).max(axis=1) <= 1))


def fit_encoded(scene: Scene) -> fr.DiskFit:
    """Fit the PSF on encoded values, as one would who blurs the library so."""
    inside = box(scene.masks["object"])
    return fr.fit_disk_psf(scene.truth[inside], scene.defocused[inside], linearize=False)


def deconvolve_best(
    scene: Scene, mask: np.ndarray, lams: tuple[float, ...], **options: object
) -> tuple[np.ndarray, float]:
    """Deconvolve the object's surroundings with each lam, in linear light; return the best by the truth, and its lam.

    The mean is kept apart: the Wiener filter would darken the picture by 1 / (1 + lam).
    """
    crop = box(mask, margin=2 * scene.psf.shape[0])
    light = decode(scene.defocused[crop])
    mean = light.mean(axis=(0, 1))
    images = {}
    for lam in lams:
        sharp = fr.deconvolve(light - mean, scene.psf, lam=lam, boundary="reflect", threads=THREADS, **options).image
        images[lam] = scene.defocused.copy()
        images[lam][crop] = encode(np.clip(sharp + mean, 0, 1))
    best = max(lams, key=lambda lam: measure(images[lam], scene.truth, mask)[0])
    return images[best], best


def cell(image: np.ndarray, scene: Scene, part: str) -> str:
    psnr, ssim = measure(image, scene.truth, scene.masks[part])
    return f"{psnr:.2f} / {ssim:.3f}"


def measure(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Return PSNR and SSIM inside the mask, of encoded values, peak 1.

    The SSIM's window of 7 x 7 stays inside: it is averaged over the mask without its outer 3 pixels.
    """
    inside = box(mask)
    mask, truth, image = mask[inside], truth[inside], np.clip(image[inside], 0, 1)
    psnr = -10 * np.log10(np.mean(np.square(image[mask] - truth[mask])))
    _, similarity = structural_similarity(image, truth, win_size=7, data_range=1, channel_axis=-1, full=True)
    return float(psnr), float(similarity[binary_erosion(mask, np.ones((7, 7)))].mean())


if __name__ == "__main__":
    main()
