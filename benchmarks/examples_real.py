"""Refocusing by examples of photos that are not aligned, and of focal stacks; no truth is known.

    python benchmarks/examples_real.py                  # all
    python benchmarks/examples_real.py car keyboard     # some scenes

Each photo is repaired by the others of its scene, of long stacks by two, without a mask or any other option. Pictures
go to benchmarks/out/examples/d: look at them.
"""

import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from paper_a_figures import write
from paper_b import header, row
from paper_b_scenes import DATA, blur

import fastrefocus as fr
from fastrefocus.light import decode

OUT = Path(__file__).resolve().parent / "out" / "examples" / "d"
THREADS = 2
STACKS = {"owl": (0, 2, 4), "pcb": (0, 3, 6), "toys": (0, 2, 5)}  # of their photos
COLOURS = np.array([[0.3, 0.3, 0.3], [0.2, 0.4, 1.0], [0.1, 0.9, 0.2]], np.float32)  # kept, deconvolved, copied
SECOND = np.array([0.9, 0.8, 0.1], np.float32)  # copied from another than the first


def main(scenes: list[str]) -> None:
    header("photo", "restored", "copied", "used", "score", "before", "plain copy", "result", "register s", "match s")
    for name, photo, others in photos():
        if not scenes or name.split("/")[0] in scenes:
            measure(name, photo, others)


def photos() -> Iterator[tuple[str, np.ndarray, list[np.ndarray]]]:
    """Yield a name, the photo to repair, and those that are to help."""
    for folder in sorted((DATA / "shifted").iterdir()) + [DATA / "stacks" / name for name in STACKS]:
        files = sorted(folder.iterdir())
        files = [files[number] for number in STACKS.get(folder.name, range(len(files)))]
        pixels = [fr.read_photo(file).pixels for file in files]
        for number, file in enumerate(files):
            yield f"{folder.name}/{file.stem}", pixels[number], pixels[:number] + pixels[number + 1 :]


def measure(name: str, photo: np.ndarray, others: list[np.ndarray]) -> None:
    begun: dict[str, float] = {}
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = fr.refocus_from_examples(
            photo, others, threads=THREADS, callback=lambda stage, *_: begun.setdefault(stage, time.perf_counter())
        )
    end = time.perf_counter()
    matching = begun.get("match", end)
    used = [found for found in result.photos if not found.problem]
    shares = [np.mean(result.provenance != 0), np.mean(result.provenance[result.mask] == fr.Provenance.COPIED)]
    cells = ["-"] * 4
    if used:
        best, rest = reblurred(photo, result)
        cells = [f"{best.score:.2f}", f"{best.residual_before:.4f}", f"{best.residual:.4f}", f"{rest:.4f}"]
    row(
        name,
        *(f"{share:.0%}" for share in shares),
        f"{len(used)} of {len(others)}",
        *cells,
        f"{matching - start:.1f}",
        f"{end - matching:.1f}",
    )
    for warning in caught:
        print(f"  {warning.message}")
    write_panels(name, photo, others[0], result)


def reblurred(photo: np.ndarray, result: fr.RepairResult) -> tuple[fr.ExamplePhoto, float]:
    """Return the focused photo that most is copied from, and what is left where the result, blurred, is compared."""
    numbers = result.origin[..., 0]
    main = int(np.argmax(np.bincount(numbers[numbers >= 0], minlength=len(result.photos))))
    found = result.photos[main]
    difference = np.abs(blur(decode(np.clip(result.image, 0, 1)), found.psf) - decode(photo))
    return found, float(difference[numbers == main].mean())


def write_panels(name: str, photo: np.ndarray, focused: np.ndarray, result: fr.RepairResult) -> None:
    provenance = COLOURS[result.provenance]
    provenance[result.origin[..., 0] > 0] = SECOND
    panels = [
        ("photo", photo),
        ("repaired", np.clip(result.image, 0, 1)),
        ("first focused photo", focused),
        ("provenance", provenance),
        ("confidence", np.nan_to_num(result.confidence)),
    ]
    OUT.mkdir(parents=True, exist_ok=True)
    write(OUT / f"{name.replace('/', '_')}.png", panels, columns=3)
    fr.write_photo(OUT / f"{name.replace('/', '_')}_repaired.png", np.clip(result.image, 0, 1))


if __name__ == "__main__":
    main(sys.argv[1:])
