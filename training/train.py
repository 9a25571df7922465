"""Train the blur network: `python training/train.py FOLDER`, on two processor cores; see README.md.

One process makes scenes, each from its own seed. This one learns from them, half of each batch new and half, turned
or mirrored, from those of before. The rate of learning falls with the time that has passed. What is kept, in
FOLDER/network.pt, is the moving average of the weights.
"""

import argparse
import copy
import math
import multiprocessing
import os
import time
from collections import deque
from pathlib import Path

import cv2
import numpy as np
import torch
from network import BINS, BINS_PER_OCTAVE, SHARPEST, BlurNetwork
from scenes import make_scene
from torch import Tensor
from torch.nn import functional

SEED = 6
TRAINING, VALIDATION = 0, 1  # second part of a scene's seed

BATCH = 16
NEW = 8  # scenes of a batch
REMEMBERED = 8192  # scenes
VALIDATION_SCENES = 256
RATE, WARM_UP_STEPS, WEIGHT_DECAY = 2e-3, 200, 1e-2
AVERAGING = 0.998
LABEL_SPREAD = 0.7  # bins
REPORT_EVERY_MINUTES = 3.0


def main() -> None:
    """Train for the time given; write a checkpoint and a line of the log every few minutes."""
    parser = argparse.ArgumentParser(description="Train the blur network.")
    parser.add_argument("folder", type=Path, help="where network.pt is written")
    parser.add_argument("--minutes", type=float, default=180.0)
    parser.add_argument("--start", type=Path, help="network.pt of an earlier run, to go on from it at half the rate")
    parser.add_argument("--seed", type=int, default=SEED, help="of the scenes; default: %(default)s")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)

    batches: multiprocessing.Queue[tuple[np.ndarray, ...]] = multiprocessing.Queue(maxsize=16)
    worker = multiprocessing.Process(target=_make_batches, args=(batches, arguments.seed), daemon=True)
    worker.start()
    validation = _tensors(*_batch([(SEED, VALIDATION, index) for index in range(VALIDATION_SCENES)]))

    memory = Memory(np.random.default_rng(arguments.seed))
    network = BlurNetwork().to(memory_format=torch.channels_last)
    rate = RATE
    if arguments.start:
        network.load_state_dict(torch.load(arguments.start))
        rate = RATE / 2
    average = copy.deepcopy(network).eval()
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=WEIGHT_DECAY)
    size = sum(p.numel() for p in network.parameters())
    print(f"torch {torch.__version__}, seed {arguments.seed}, {size} parameters", flush=True)
    start = reported = time.monotonic()
    step, running = 0, float("nan")
    while (passed := (time.monotonic() - start) / (60 * arguments.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / WARM_UP_STEPS) * (0.01 + 0.495 * (1 + math.cos(math.pi * passed)))
        loss = _loss(network, *_tensors(*memory.mix(batches.get())))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        _follow(average, network, min(AVERAGING, (1 + step) / (10 + step)))
        step += 1
        running = loss.item() if math.isnan(running) else 0.99 * running + 0.01 * loss.item()
        if time.monotonic() - reported > 60 * REPORT_EVERY_MINUTES:
            reported = time.monotonic()
            _report(
                arguments.folder, average, validation, f"{(reported - start) / 60:5.1f} min {step:6d} {running:.3f}"
            )
    _report(arguments.folder, average, validation, f"end {step:6d} {running:.3f}")
    worker.terminate()


class Memory:
    """The latest scenes."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.scenes: deque[tuple[np.ndarray, ...]] = deque(maxlen=REMEMBERED)

    def mix(self, new: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """Remember new scenes, and return them together with others from before, turned or mirrored."""
        self.scenes.extend(zip(*new, strict=True))
        chosen = [self.scenes[index] for index in self.random.integers(len(self.scenes), size=BATCH - NEW)]
        turned = [self._turn(scene) for scene in chosen]
        return tuple(np.concatenate([planes, np.stack(others)]) for planes, *others in zip(new, *turned, strict=True))

    def _turn(self, scene: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        quarters, mirrored = int(self.random.integers(4)), self.random.random() < 0.5
        return tuple(np.rot90(plane.T if mirrored else plane, quarters) for plane in scene)


def _make_batches(batches: "multiprocessing.Queue[tuple[np.ndarray, ...]]", seed: int) -> None:
    os.nice(5)
    cv2.setNumThreads(1)
    first = 0
    while True:
        batches.put(_batch([(seed, TRAINING, index) for index in range(first, first + NEW)]))
        first += NEW


def _batch(seeds: list[tuple[int, ...]]) -> tuple[np.ndarray, ...]:
    photos, radii, weights = zip(*(make_scene(seed) for seed in seeds), strict=True)
    return np.stack(photos), np.stack(radii), np.stack(weights)


def _tensors(photos: np.ndarray, radii: np.ndarray, weights: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    photo = torch.from_numpy(photos).float().unsqueeze(1) / 255
    return (
        photo.contiguous(memory_format=torch.channels_last),
        torch.from_numpy(radii).float(),
        torch.from_numpy(weights).float(),
    )


def _position(radius: Tensor) -> Tensor:
    """Return where a radius lies among the bins."""
    return (BINS_PER_OCTAVE * torch.log2(radius.clamp(min=SHARPEST) / SHARPEST)).clamp(max=BINS - 1)


def _loss(network: BlurNetwork, photo: Tensor, radius: Tensor, weight: Tensor) -> Tensor:
    """Return the cross entropy against bins that are a little spread, so that a near miss counts as one."""
    distance = torch.arange(BINS).view(1, -1, 1, 1) - _position(radius).unsqueeze(1)
    target = torch.softmax(-0.5 * (distance / LABEL_SPREAD) ** 2, 1)
    entropy = -(target * functional.log_softmax(network(photo), 1)).sum(1)
    return (weight * entropy).sum() / weight.sum()


@torch.no_grad()
def _follow(average: BlurNetwork, network: BlurNetwork, share: float) -> None:
    for mean, now in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(now, 1 - share)


@torch.no_grad()
def _report(folder: Path, average: BlurNetwork, validation: tuple[Tensor, ...], head: str) -> None:
    """Save a checkpoint; print the loss, the median error in octaves, and as what some radii are read."""
    torch.save(average.state_dict(), folder / "network.pt")
    photo, radius, weight = validation
    losses, answers = [], []
    for batch in range(0, len(photo), BATCH):
        part = slice(batch, batch + BATCH)
        losses.append(_loss(average, photo[part], radius[part], weight[part]).item())
        odds = torch.softmax(average(photo[part]), 1).cumsum(1)
        answers.append((odds < 0.5).sum(1))
    found = torch.cat(answers).float()
    truth = _position(radius)
    sure = weight > 0.9
    error = (found - truth).abs()[sure].median().item() / BINS_PER_OCTAVE
    read = [
        f"{r:g}:{SHARPEST * 2 ** (found[sure & (radius / r - 1).abs().lt(0.15)].median().item() / BINS_PER_OCTAVE):.2f}"
        for r in (0.7, 1.5, 3, 6, 10, 14)
    ]
    print(head, f"validation {np.mean(losses):.3f}, off by {error:.3f} octaves; radius:read as", *read, flush=True)


if __name__ == "__main__":
    main()
