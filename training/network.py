"""The network: a grey photo in, the odds of every radius of blur out, for each cell of 4 x 4 pixels.

Its input are the pixels of a cell, freed of the local mean and contrast, and fixed channels: the logarithm of the
energy of the gradient at five scales, its mean and its largest value in a cell and in 9 x 9 cells. How the energy falls
from scale to scale is what blur changes; the network need not learn to see it. What follows is a small U-Net.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Centres of the bins of radius: quarters of an octave, pixels. The first stands for all that is sharper.
SHARPEST, BINS_PER_OCTAVE, BINS = 0.35, 4, 24

CELL = 4  # pixels on each side; height and width of the input are multiples of 4 cells, for the U-Net halves twice
_NOISE = 3e-6  # squared gradient that is no more than rounding to 8 bits
_CONTRAST = 1e-4  # variance: what is flatter is not raised to the contrast of the rest
_SCALES = 5
_LOCAL_CELLS = 5  # of the local mean and contrast, on each side
_POOLED_CELLS = 9  # of the wider energies, on each side


class BlurNetwork(nn.Module):
    """From [batch, 1, height, width] encoded grey 0..1 to logits [batch, BINS, height / 4, width / 4]."""

    def __init__(self, widths: tuple[int, int, int] = (48, 64, 128)) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.features = Features()
        self.fine = nn.Sequential(convolution(CELL**2 + 2 + 4 * _SCALES, fine), Residual(fine))
        self.middle = nn.Sequential(convolution(fine, middle, stride=2), Residual(middle))
        self.coarse = nn.Sequential(convolution(middle, coarse, stride=2), Residual(coarse), Residual(coarse))
        self.to_middle = convolution(coarse, middle, size=1)
        self.middle_again = Residual(middle)
        self.to_fine = convolution(middle, fine, size=1)
        self.fine_again = Residual(fine)
        self.odds = nn.Conv2d(fine, BINS, 1)

    def forward(self, photo: Tensor) -> Tensor:
        """Return the logits."""
        fine = self.fine(self.features(photo))
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        middle = self.middle_again(middle + enlarge(self.to_middle(coarse)))
        fine = self.fine_again(fine + enlarge(self.to_fine(middle)))
        return self.odds(fine)


class Features(nn.Module):
    """The fixed channels; nothing here is trained."""

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16  # a Gaussian of standard deviation 1
        self.register_buffer("smooth", taps, persistent=False)
        difference = torch.zeros(2, 1, 3, 3)
        difference[0, 0, 1] = torch.tensor([-0.5, 0.0, 0.5])
        difference[1, 0, :, 1] = torch.tensor([-0.5, 0.0, 0.5])
        self.register_buffer("difference", difference, persistent=False)

    def forward(self, photo: Tensor) -> Tensor:
        """Return the channels, [batch, CELL^2 + 2 + 4 scales, height / 4, width / 4]."""
        cells = functional.pixel_unshuffle(photo, CELL)
        mean = box(cells.mean(1, keepdim=True), _LOCAL_CELLS)
        deviation = (box((cells**2).mean(1, keepdim=True), _LOCAL_CELLS) - mean**2 + _CONTRAST).sqrt()
        mean_energy, largest_energy = [], []
        level, cell = photo, CELL
        for scale in range(_SCALES):
            energy = (functional.conv2d(pad(level, 1), self.difference) ** 2).sum(1, keepdim=True)
            mean_energy.append(functional.avg_pool2d(energy, cell) if cell > 1 else energy)
            largest_energy.append(functional.max_pool2d(energy, cell) if cell > 1 else energy)
            level = self.smoothed(level)
            if scale > 0 and cell > 1:
                level, cell = functional.avg_pool2d(level, 2), cell // 2
        means, largest = torch.cat(mean_energy, 1), torch.cat(largest_energy, 1)
        energies = torch.cat([means, largest, box(means, _POOLED_CELLS), around(largest, _POOLED_CELLS)], 1)
        logs = (torch.log(energies + _NOISE) + 8) / 4  # about -1 to 2, as the other channels are
        return torch.cat([(cells - mean) / deviation, 2 * mean - 1, torch.log(deviation) / 2 + 1, logs], 1)

    def smoothed(self, level: Tensor) -> Tensor:
        """Blur with a Gaussian of standard deviation 1 pixel."""
        rows = functional.conv2d(functional.pad(level, (2, 2, 0, 0), mode="replicate"), self.smooth.view(1, 1, 1, 5))
        return functional.conv2d(functional.pad(rows, (0, 0, 2, 2), mode="replicate"), self.smooth.view(1, 1, 5, 1))


class Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = convolution(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, value: Tensor) -> Tensor:
        """Return the sum."""
        return functional.relu(value + self.second(self.first(value)))


def convolution(inputs: int, outputs: int, *, size: int = 3, stride: int = 1) -> nn.Sequential:
    """Return a convolution, batch normalisation and the rectifier."""
    convolved = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(convolved, nn.BatchNorm2d(outputs), nn.ReLU())


def enlarge(value: Tensor) -> Tensor:
    """Double height and width."""
    return functional.interpolate(value, scale_factor=2.0, mode="nearest")


def pad(value: Tensor, width: int) -> Tensor:
    """Repeat the border."""
    return functional.pad(value, (width,) * 4, mode="replicate")


def box(value: Tensor, size: int) -> Tensor:
    """Return the mean over a square window; beyond the border nothing counts."""
    rows = functional.avg_pool2d(value, (1, size), 1, (0, size // 2), count_include_pad=False)
    return functional.avg_pool2d(rows, (size, 1), 1, (size // 2, 0), count_include_pad=False)


def around(value: Tensor, size: int) -> Tensor:
    """Return the largest value in a square window."""
    rows = functional.max_pool2d(value, (1, size), 1, (0, size // 2))
    return functional.max_pool2d(rows, (size, 1), 1, (size // 2, 0))
