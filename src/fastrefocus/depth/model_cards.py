"""What a depth network's file does not say: how it wants its input, and what its output means.

No exporter writes this into the file, so each family of networks has a card: a row of data, not code.
"""

from dataclasses import dataclass

from fastrefocus.depth.depth_map import Kind


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """How to feed one family of depth networks, and how to read its output.

    Parameters
    ----------
    name : str
        As in ``model="NAME:PATH"``; lower case.
    kind : {"relative", "inverse", "metric"}
        What the output is; see `DepthMap`. Relative output is larger where it is farther.
    mean, std : tuple of float
        The network sees (rgb - mean) / std, with rgb in 0..1.
    size : (int, int), optional
        Height and width of the input, whatever the photo's proportions.
    longest : int, optional
        Where there is no `size`: the photo's own size, reduced so that the longer side is at most this.
    multiple : int
        Where there is no `size`: height and width are rounded to multiples of this, at least one.
    limits : (float, float), optional
        The output is clipped to this range. Relative output without limits is min-max scaled to 0..1.
    metadata_names : tuple of str
        Other names under which files of this family call themselves; lower case.
    """

    name: str
    kind: Kind
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    size: tuple[int, int] | None = None
    longest: int | None = None
    multiple: int = 1
    limits: tuple[float, float] | None = None
    metadata_names: tuple[str, ...] = ()

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) in which the network wants to see a photo of `height` x `width`.

        Examples
        --------
        >>> CARDS["builtin"].input_size(3000, 4000)
        (384, 512)
        >>> CARDS["fastdepth"].input_size(3000, 4000)
        (224, 224)
        """
        if self.size is not None:
            return self.size
        scale = 1.0 if self.longest is None else min(1.0, self.longest / max(height, width))
        rows, columns = (max(1, round(side * scale / self.multiple)) for side in (height, width))
        return rows * self.multiple, columns * self.multiple


#: The cards by name.
CARDS = {
    card.name: card
    for card in (
        ModelCard(name="builtin", kind="relative", longest=512, multiple=16, limits=(0.0, 1.0)),
        # Wofk et al. 2019, trained on rooms of 0.7 to 10 m, squeezed to a square.
        ModelCard(
            name="fastdepth",
            kind="metric",
            size=(224, 224),
            limits=(0.1, 10.0),
            metadata_names=("fastdepth-nyu",),
        ),
    )
}

#: For a file that no card describes.
PLAIN = ModelCard(name="plain", kind="relative", longest=384, multiple=32)


def card_of_metadata(name: str) -> ModelCard | None:
    """Return the card that a file's metadata names, in any case; None where there is no such card."""
    name = name.strip().lower()
    return next((card for card in CARDS.values() if name in (card.name, *card.metadata_names)), None)
