"""From the network's odds to a radius and a confidence for every pixel: what the ONNX file computes."""

import math

import torch
from network import BINS, BINS_PER_OCTAVE, CELL, SHARPEST, BlurNetwork
from torch import Tensor, nn
from torch.nn import functional

#: The half-size photo tells of radii up to twice the largest bin.
ALL_BINS = BINS + BINS_PER_OCTAVE

COARSE = 12  # bins: of radii below 2.8 of its own pixels, the half-size photo says only that they are below
WITHIN = 2.0  # bins: the confidence is the probability that the truth is no farther off

# Of the bilateral grid.
GRID_CELLS = 8  # of the network, on each side of one of the grid's
GRID_REACH = 3.0  # standard deviation in space, in cells of the grid
GRID_WIDTH = 8  # on each side, cells of the grid
GRID_RANGE = 1.5  # standard deviation in radius, bins

#: Height and width of the photo are multiples of this.
MULTIPLE = CELL * GRID_CELLS


class Estimator(nn.Module):
    """From a photo [1, 1, height, width], multiples of `MULTIPLE`, to radius and confidence of the same size."""

    def __init__(self, network: BlurNetwork) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("bins", torch.arange(ALL_BINS, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        steps = torch.arange(-float(GRID_WIDTH), GRID_WIDTH + 1)
        reach = torch.exp(-0.5 * (steps / GRID_REACH) ** 2)
        self.register_buffer("reach", (reach / reach.sum()).view(1, 1, 1, -1), persistent=False)
        distance = torch.arange(ALL_BINS).view(-1, 1) - torch.arange(ALL_BINS).view(1, -1)
        likeness = torch.exp(-0.5 * (distance / GRID_RANGE) ** 2)
        self.register_buffer("likeness", likeness.view(ALL_BINS, ALL_BINS, 1, 1), persistent=False)

    def forward(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """Return radius, pixels, and confidence, 0..1."""
        logits = self.logits(photo)
        odds = torch.exp(logits - logits.amax(1, keepdim=True))
        probability = odds / odds.sum(1, keepdim=True)
        position = median(probability)
        certainty = self.mass_near(probability, position)
        position = self.spread(position, certainty)
        confidence = self.mass_near(probability, position)
        both = torch.cat([position, confidence], 1)
        position, confidence = functional.interpolate(both, scale_factor=CELL, mode="bilinear").split(1, 1)
        return SHARPEST * torch.exp(position * (math.log(2) / BINS_PER_OCTAVE)), confidence

    def logits(self, photo: Tensor) -> Tensor:
        """Return the logits of all bins, from the photo and its half-size copy."""
        full, half = self.network(photo), self.network(functional.avg_pool2d(photo, 2))
        half = functional.interpolate(half, scale_factor=2.0, mode="bilinear")
        # What is beyond the last bin looks like the last.
        beyond = full[:, -1:].expand(-1, BINS_PER_OCTAVE, -1, -1)
        count = COARSE + BINS_PER_OCTAVE
        below = torch.logsumexp(half[:, :COARSE], 1, keepdim=True) - math.log(count)
        return torch.cat([full, beyond], 1) + torch.cat([below.expand(-1, count, -1, -1), half[:, COARSE:]], 1)

    def mass_near(self, probability: Tensor, position: Tensor) -> Tensor:
        """Return the probability of the bins around a position; a bin at the limit counts in part."""
        return (probability * (WITHIN + 0.5 - (self.bins - position).abs()).clamp(0, 1)).sum(1, keepdim=True)

    def spread(self, position: Tensor, certainty: Tensor) -> Tensor:
        """Average over neighbours of like radius, the certain most: a bilateral grid (Chen, Paris and Durand 2007)."""
        share = (1 - (self.bins - position).abs()).clamp(min=0)
        weight = functional.avg_pool2d(share * certainty, GRID_CELLS)
        total = functional.avg_pool2d(share * certainty * position, GRID_CELLS)
        both = torch.cat([weight, total], 0)
        both = self.blurred(functional.conv2d(both, self.likeness))
        both = functional.interpolate(both, scale_factor=GRID_CELLS, mode="bilinear")
        weight, total = (share * both).sum(1, keepdim=True).split(1, 0)
        return total / (weight + 1e-6)

    def blurred(self, grid: Tensor) -> Tensor:
        """Blur the grid in space; beyond the border nothing counts."""
        count, bins, height, width = grid.shape
        planes = grid.reshape(count * bins, 1, height, width)
        planes = functional.conv2d(planes, self.reach, padding=(0, GRID_WIDTH))
        planes = functional.conv2d(planes, self.reach.transpose(2, 3), padding=(GRID_WIDTH, 0))
        return planes.reshape(count, bins, height, width)


def median(probability: Tensor) -> Tensor:
    """Return where half of the probability lies on each side, in bins; a bin's probability lies evenly over it."""
    before = probability.cumsum(1) - probability
    return ((0.5 - before) / probability.clamp(min=1e-9)).clamp(0, 1).sum(1, keepdim=True) - 0.5
