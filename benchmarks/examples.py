"""Refocusing by examples beside other ways.

    python benchmarks/examples.py         # tables a, b and c
    python benchmarks/examples.py b c     # some of them

a: six real pairs, examples from the same object; b: the same, examples from another part of it; c: changes of view of
free photos, the truth known. All ways but deblur are given the PSF, of the real pairs that which the truth likes.
Pictures go to benchmarks/out/examples. examples_scenes.py says what was tuned on, examples_real.py has table d.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
from examples_scenes import PAIRS, TUNED_PAIRS, TUNED_PHOTOS, Case, real, synthetic
from paper_a_figures import write
from paper_b import WIENER_LAMS, header, row
from paper_b_scenes import box

import fastrefocus as fr
from fastrefocus.light import decode, encode

OUT = Path(__file__).resolve().parent / "out" / "examples"
THREADS = 1  # the pictures do not depend on it
TV = {"method": "admm-tv", "tv": "vector", "value_range": (0, np.inf), "num_iter": 100, "tol": 0}
TV_LAMS = (0.0003, 0.0006, 0.001, 0.002, 0.004, 0.008)

TABLES: dict[str, Callable[[], Iterable[Case]]] = {
    "a": partial(real, "object", "object"),
    "b": partial(real, "target", "elsewhere"),
    "c": synthetic,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="of a, b, c; default: all")
    arguments = parser.parse_args()
    if unknown := set(arguments.tables) - set(TABLES):
        parser.error(f"there is no table {', '.join(sorted(unknown))}")
    for name in arguments.tables or TABLES:
        measure_table(name, TABLES[name]())


def measure_table(name: str, cases: Iterable[Case]) -> None:
    """Print each way's PSNR inside the mask, and the means of what was tuned on and what was not."""
    scores: dict[bool, list[list[float]]] = {True: [], False: []}
    for case in cases:
        start = time.perf_counter()
        result = by_examples(case)
        seconds = time.perf_counter() - start
        images = {**other_ways(case), "by examples": result.image}
        if not any(scores.values()):
            header(name, *images, "s")
        psnrs = [psnr(image, case) for image in images.values()]
        scores[is_tuned(case)].append(psnrs)
        row(case.name, *(cell(value) for value in psnrs), f"{seconds:.1f}")
        write_panels(name, case, images, psnrs, result)
    for title, group in (("tuned on", scores[True]), ("not tuned on", scores[False])):
        if group:
            row(f"mean, {title}", *(cell(value) for value in np.mean(group, axis=0)), "")


def is_tuned(case: Case) -> bool:
    return case.name in TUNED_PAIRS if case.name in PAIRS else case.name.startswith(TUNED_PHOTOS)


def cell(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "-"


def by_examples(case: Case) -> fr.RepairResult:
    masks = None if case.source.all() else case.source
    return fr.refocus_from_examples(
        case.defocused, case.focused, mask=case.mask, focused_masks=masks, psf=case.psf, threads=THREADS
    )


def other_ways(case: Case) -> dict[str, np.ndarray]:
    library = fr.PatchLibrary(case.focused, case.psf, masks=case.source)
    blind = fr.deblur(case.defocused, threads=THREADS).image
    return {
        "unprocessed": case.defocused,
        "Wiener": best_deconvolution(case, WIENER_LAMS, method="wiener", boundary="reflect"),
        "TV": best_deconvolution(case, TV_LAMS, **TV),
        "deblur": blind,
        "paper": fr.synthesize(case.defocused, library, mask=case.mask, threads=THREADS).image,
        "copy": case.truth if case.copy is None else case.copy,
    }


def best_deconvolution(case: Case, lams: tuple[float, ...], **options: object) -> np.ndarray:
    """Deconvolve in linear light with each lam; return what the truth likes best."""
    light = decode(case.defocused)
    images = []
    for lam in lams:
        sharp = fr.deconvolve(light, case.psf, lam=lam, threads=THREADS, **options).image
        brightness = 1 + lam if options["method"] == "wiener" else 1  # that filter darkens the picture
        images.append(encode(np.clip(sharp * np.float32(brightness), 0, 1)))
    return max(images, key=lambda image: psnr(image, case))


def psnr(image: np.ndarray, case: Case) -> float:
    """Return the PSNR inside the mask, of encoded values, peak 1."""
    error = np.mean(np.square(np.clip(image[case.mask], 0, 1) - case.truth[case.mask]))
    return float(-10 * np.log10(error)) if error > 0 else np.inf


def write_panels(
    table: str, case: Case, images: dict[str, np.ndarray], psnrs: list[float], result: fr.RepairResult
) -> None:
    folder = OUT / table
    folder.mkdir(parents=True, exist_ok=True)
    inside = box(case.mask, margin=16)
    titled = zip(images.items(), psnrs, strict=True)
    panels = [(f"{name}: {cell(value)}", image[inside]) for (name, image), value in titled]
    panels += [
        ("truth", case.truth[inside]),
        ("copied", (result.provenance == fr.Provenance.COPIED)[inside].astype(np.float32)),
        ("confidence", np.nan_to_num(result.confidence)[inside]),
    ]
    write(folder / f"{case.name.replace(', ', '_').replace(' ', '_')}.png", panels, columns=5)


if __name__ == "__main__":
    main()
