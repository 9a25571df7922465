"""Defocus: quality on scenes whose geometry is known exactly, speed and memory: ``pytest benchmarks/rendering.py``.

The first run takes the scenes' true photographs, some ten minutes; they are kept in benchmarks/out. Pictures go to
benchmarks/out/rendering.
"""

import importlib.util
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import zoom
from scipy.signal import fftconvolve
from skimage.io import imsave
from skimage.metrics import structural_similarity

import fastrefocus as fr
from fastrefocus.light import decode, encode
from fastrefocus.samples import load_sample

HERE = Path(__file__).parent
sys.path.append(str(HERE))  # pytest's importlib mode leaves it out

from admm import library_transforms  # noqa: E402
from defocus_peers import PEERS  # noqa: E402
from defocus_scenes import EVERYWHERE, SCENES, Scene, Surface, load_scene, placed, texture  # noqa: E402

RADII = (5, 20, 50)
OUT = HERE / "out" / "rendering"
DEPTH_WIDTH = 256  # of a small network's map
ROUNDS = 5


def render(quality, **options):
    """Return our renderer as a function of a photo and the radius per pixel."""
    return lambda photo, coc: fr.render_defocus(photo, coc, quality=quality, **options)


OURS = {"ours": render("default"), "ours, fast": render("fast"), "ours, reference": render("reference")}
RENDERERS = {**OURS, **PEERS}
if importlib.util.find_spec("blurgenerator") is None:
    del RENDERERS["blurgenerator"]


def psnr(picture, truth):
    """Return decibels; the sum over all values, in double precision."""
    error = np.clip(picture, 0, 1) - np.clip(truth, 0, 1)
    return float(-10 * np.log10(np.mean(np.square(error, dtype=np.float64))))


@pytest.mark.parametrize("radius", RADII)
def test_truth_of_one_plane(radius):
    """A plane parallel to the sensor is convolved with the disk."""
    scene = Scene("plane", False, (Surface((1, 0, 0), EVERYWHERE, texture("coffee"), placed(0.9)),))
    psf = fr.disk_psf(2 * radius)
    light = decode(scene.photo())
    expected = encode(np.stack([fftconvolve(light[..., i], psf, "valid") for i in range(3)], axis=-1))
    margin = len(psf) // 2
    truth = scene.expose(radius, scene.samples)[margin:-margin, margin:-margin]
    assert psnr(truth, expected) > 55


def test_truth_of_constant_light():
    grey = np.full((2, 2, 3), 0.3, np.float32)
    planes = tuple(replace(plane, texture=grey) for plane in SCENES["slanted ground"]().surfaces)
    truth = Scene("grey", False, planes).expose(20, 64)
    np.testing.assert_allclose(truth, np.broadcast_to(encode(grey)[0, 0], truth.shape), atol=1e-6)


@pytest.mark.parametrize("name", SCENES)
def test_noise_of_the_truth(add_row, name):
    """The truth against one of a quarter of the samples, whose own error is most of what is seen."""
    scene = load_scene(name)
    cells = {f"radius {r}": f"{psnr(scene.truth(r), scene.truth(r, scene.samples // 4)):.1f}" for r in RADII}
    add_row("truth against a quarter of the samples, dB", name, cells)


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("radius", RADII)
@pytest.mark.filterwarnings("ignore")  # of the peers
def test_quality(add_row, radius, name):
    scene = load_scene(name)
    photo, coc, truth = scene.photo(), scene.coc(radius), scene.truth(radius)
    near = scene.near_edges(radius)
    pictures = {renderer: function(photo, coc) for renderer, function in RENDERERS.items()}
    whole = {renderer: psnr(picture, truth) for renderer, picture in pictures.items()}
    case = name + (" (hides the background)" if scene.hides_background else "")
    gains = {
        "ours - paper A": f"{whole['ours'] - whole['paper A']:+.1f}",
        "ours - reference": f"{whole['ours'] - whole['ours, reference']:+.2f}",
    }
    add_row(f"PSNR, dB, radius {radius}", case, {key: f"{value:.1f}" for key, value in whole.items()} | gains)
    edges = {key: f"{psnr(picture[near], truth[near]):.1f}" for key, picture in pictures.items()}
    add_row(f"PSNR near edges, dB, radius {radius}", case, edges)
    likeness = {key: f"{ssim(picture, truth):.3f}" for key, picture in pictures.items()}
    add_row(f"SSIM, radius {radius}", case, likeness)
    save_pictures(f"{name}, radius {radius}", truth, pictures)


def ssim(picture, truth):
    return structural_similarity(np.clip(picture, 0, 1), np.clip(truth, 0, 1), channel_axis=2, data_range=1)


def save_pictures(name, truth, pictures):
    """Write truth, ours and paper A's above the errors of reference, ours and paper A's, eight times."""
    shown = [truth, pictures["ours"], pictures["paper A"]]
    errors = [8 * np.abs(pictures[key] - truth) for key in ("ours, reference", "ours", "paper A")]
    sheet = np.vstack([np.hstack(shown), np.hstack(errors)])
    OUT.mkdir(parents=True, exist_ok=True)
    imsave(OUT / f"{name.replace(', ', '_').replace(' ', '_')}.png", np.uint8(np.clip(sheet, 0, 1) * 255 + 0.5))


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("radius", RADII)
def test_small_depth(add_row, radius, name):
    """Depth averaged to 256 pixels and interpolated, as from a network, without and with steep edges."""
    scene = load_scene(name)
    photo, coc, truth = scene.photo(), scene.coc(radius), scene.truth(radius)
    smeared = reduce_and_enlarge(coc)
    refined = -fr.refine_depth(fr.DepthMap(-smeared, "inverse"), photo).values
    unharmed = -fr.refine_depth(fr.DepthMap(-coc, "inverse"), photo).values
    plain, steep = (psnr(OURS["ours"](photo, used), truth) for used in (smeared, refined))
    cells = {
        "exact depth, dB": f"{psnr(OURS['ours'](photo, coc), truth):.1f}",
        f"{DEPTH_WIDTH} px": f"{plain:.1f}",
        "refined": f"{steep:.1f}",
        "gain": f"{steep - plain:+.1f}",
        "exact depth, refined": f"{psnr(OURS['ours'](photo, unharmed), truth):.1f}",
    }
    add_row(f"small depth, radius {radius}", name, cells)


def reduce_and_enlarge(radius):
    """Average over areas until the longer side is DEPTH_WIDTH, and interpolate linearly back to the size."""
    common = np.gcd(max(radius.shape), DEPTH_WIDTH)
    repeat, step = DEPTH_WIDTH // common, max(radius.shape) // common
    fine = radius.repeat(repeat, axis=0).repeat(repeat, axis=1)
    height, width = fine.shape[0] // step, fine.shape[1] // step
    small = fine.reshape(height, step, width, step).mean(axis=(1, 3))
    return zoom(small, step / repeat, order=1, mode="nearest", grid_mode=True)


def speed_scene(height, width):
    """Return a photo, and radii of -1 to 1: a ramp with boxes that stand out from it."""
    tile = load_sample("astronaut").pixels
    repeats = (-(-height // tile.shape[0]), -(-width // tile.shape[1]), 1)
    photo = np.ascontiguousarray(np.tile(tile, repeats)[:height, :width])
    radius = np.repeat(np.linspace(1, -1, height, dtype=np.float32)[:, np.newaxis], width, axis=1)
    random = np.random.default_rng(0)
    for foot in np.linspace(0.35, 0.95, 8):
        top, left = foot - random.uniform(0.15, 0.3), random.uniform(0, 0.8)
        box = slice(int(top * height), int(foot * height)), slice(int(left * width), int((left + 0.18) * width))
        radius[box] = 1 - 2 * foot
    return photo, radius


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.filterwarnings("ignore")  # of the peers
@pytest.mark.usefixtures("one_cpu")
def test_speed(add_row, renderer):
    """1024 x 1024 x 3 on one thread, as a multiple of the transform and its inverse, taken in turns with it."""
    photo, radius = speed_scene(1024, 1024)
    call = RENDERERS[renderer] if renderer in PEERS else render(renderer.partition(", ")[2] or "default", threads=1)
    call(photo[:64, :96], radius[:64, :96])  # compiles
    transforms = library_transforms(np.ascontiguousarray(np.moveaxis(photo, -1, 0)))
    rounds = 1 if renderer in PEERS or "reference" in renderer else ROUNDS
    times = {0: [], **{r: [] for r in RADII}}
    for _ in range(rounds):
        transforms()
        times[0].append(statistics.median(seconds(transforms) for _ in range(3)))
        for r in RADII:
            times[r].append(seconds(lambda r=r: call(photo, radius * np.float32(r))))
    cells = {"transforms, ms": f"{1000 * statistics.median(times[0]):.0f}"}
    for r in RADII:
        cells[f"radius {r}, s"] = f"{statistics.median(times[r]):.3f}"
        cells[f"x transforms, {r}"] = f"{median_ratio(times[r], times[0]):.1f}"
    cells["radius 50 / 20"] = f"{median_ratio(times[50], times[20]):.2f}"
    add_row("1024 x 1024 x 3, one thread", renderer, cells)


def median_ratio(above, below):
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


@pytest.mark.parametrize("radius", [20])
def test_threads(compare, radius):
    photo, unit = speed_scene(2048, 2048)
    coc = unit * np.float32(radius)
    one, two = (lambda threads=threads: render("default", threads=threads)(photo, coc) for threads in (1, 2))
    compare("2048 x 2048 x 3, two threads", f"radius {radius}", two, {"one thread": one}, rounds=ROUNDS)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read as Linux tells it")
@pytest.mark.parametrize(("quality", "radius"), [*(("default", radius) for radius in RADII), ("fast", 20)])
def test_memory(add_row, quality, radius):
    """12 megapixels in a process of its own."""
    code = (
        "import sys; sys.path[:0] = ['benchmarks', 'tests']; import rendering; "
        f"rendering.print_peak_memory({quality!r}, {radius})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    beyond, whole = done.stdout.split()
    cells = {"beyond photo and radii, MB": beyond, "whole process, MB": whole}
    add_row("peak memory, 4000 x 3000 x 3 (144 MB)", f"{quality}, radius {radius}", cells)


def print_peak_memory(quality, radius, threads=2):
    """Print megabytes; what imports and compilers hold does not count: a small photo goes first."""

    def kilobytes(field):
        return int(next(line for line in open("/proc/self/status") if line.startswith(field)).split()[1])

    call = render(quality, threads=threads)
    photo, unit = speed_scene(3000, 4000)
    coc = unit * np.float32(radius)
    call(photo[:64, :96], coc[:64, :96])
    before = kilobytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    call(photo, coc)
    print(f"{(kilobytes('VmHWM') - before) / 1024:.0f} {kilobytes('VmHWM') / 1024:.0f}")
