"""What a depth network's file does not say: how it wants its input, and what its output means."""

from dataclasses import dataclass
from typing import Literal, get_args

from fastrefocus import checks
from fastrefocus.depth.depth_map import Kind

Output = Literal["relative", "inverse", "distance", "metric", "canonical-metric", "canonical-inverse"]
Fit = Literal["stretch", "pad", "longest", "shortest", "reduce"]
Colour = tuple[float, float, float]

_KINDS: dict[Output, Kind] = {
    "relative": "relative",
    "inverse": "inverse",
    "distance": "inverse",  # its reciprocal is
    "metric": "metric",
    "canonical-metric": "metric",
    "canonical-inverse": "metric",
}

#: No network wants a larger input, in pixels a side; it is taken for a mistake.
LARGEST_SIDE = 4096

#: Metres to which metric depth is clipped where a card says nothing else.
_METRIC_LIMITS = (1e-3, 1e4)

#: The longer side, in shorter ones, to which a panorama is squeezed with the fit "shortest".
_LONGEST_PART = 4


@dataclass(frozen=True, kw_only=True)
class Published:
    """Where the files of a family come from; "unknown" where nothing certain is known.

    Parameters
    ----------
    licence : str
        Of the weights.
    size : str
        Of the ONNX file.
    source : str
        The page to get it from.
    url, sha256 : str, optional
        A file of which the SHA-256 is known.
    """

    licence: str = "unknown"
    size: str = "unknown"
    source: str = "unknown"
    url: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """How to feed one family of depth networks, and how to read its output.

    Parameters
    ----------
    name : str
        As in ``model="NAME:PATH"``; lower case.
    output : str
        What a number in the output is, for depth z and unknown a > 0 and b:

        - "relative": larger is farther, and no more is known;
        - "inverse": a / z + b;
        - "distance": a z;
        - "metric": z, in units of `unit_m`;
        - "canonical-metric": z, in units of `unit_m`, as if the focal length were `canonical_focal_px` pixels of what
          the network sees (Metric3D: the true one is f / canonical_focal_px times that);
        - "canonical-inverse": f / (W z), with focal length and width of the photo in pixels (Depth Pro), in 1/m.
    mean, std : tuple of float
        The network sees (rgb - mean) / std, with rgb in 0..1.
    normalised_inside : bool
        The file does that by itself: the network sees rgb, and `mean` only is the colour of the padding.
    white : float
        The value of white for a file that normalises inside.
    channels : {"rgb", "bgr"}
        Their order in the input; `mean` and `std` are in the order red, green, blue all the same.
    fit : str
        How the photo becomes the input, unless the file fixes height and width:

        - "stretch": to `size`, whatever the photo's proportions;
        - "pad": as large as goes into `size`, the rest filled with `mean`; also into the file's own size;
        - "longest", "shortest": that side becomes `size`, the other one follows;
        - "reduce": as "longest", but small photos stay as they are.
    size : (int, int) or int, optional
        Height and width for "stretch" and "pad", one side for the others. None: the file says it.
    multiple : int
        The sides are rounded to multiples of this, at least one, for the fits of one side.
    limits : (float, float), optional
        What metric depth, in metres, or relative depth is clipped to. None: 1 mm to 10 km; relative depth is min-max
        scaled to 0..1 instead.
    unit_m : float
        Metres in one unit of metric output.
    canonical_focal_px : float
        See `output`.
    output_names : tuple of str
        Names of the output wanted, in a file that has several.
    refused_outputs : tuple of str
        Names of outputs that show that a file follows another card.
    metadata_names : tuple of str
        Other names under which files of this family call themselves; lower case.
    published : Published
        Where files come from.

    Raises
    ------
    TypeError, ValueError
        If a value is not as above.
    """

    name: str
    output: Output
    mean: Colour = (0.0, 0.0, 0.0)
    std: Colour = (1.0, 1.0, 1.0)
    normalised_inside: bool = False
    white: float = 1.0
    channels: Literal["rgb", "bgr"] = "rgb"
    fit: Fit = "stretch"
    size: tuple[int, int] | int | None = None
    multiple: int = 1
    limits: tuple[float, float] | None = None
    unit_m: float = 1.0
    canonical_focal_px: float = 1000.0
    output_names: tuple[str, ...] = ()
    refused_outputs: tuple[str, ...] = ()
    metadata_names: tuple[str, ...] = ()
    published: Published = Published()

    def __post_init__(self) -> None:
        checks.choice(self.output, "output", get_args(Output))
        for name, above in (("mean", -float("inf")), ("std", 0.0)):
            if len(checks.numbers(getattr(self, name), name, above=above)) != 3:
                raise ValueError(f"{name} must hold three numbers, got {getattr(self, name)!r}")
        checks.flag(self.normalised_inside, "normalised_inside")
        checks.choice(self.channels, "channels", ("rgb", "bgr"))
        checks.choice(self.fit, "fit", get_args(Fit))
        self._check_size()
        for name in ("white", "unit_m", "canonical_focal_px"):
            checks.number(getattr(self, name), name, above=0)
        self._check_limits()
        if not isinstance(self.output_names, tuple) or not all(isinstance(name, str) for name in self.output_names):
            raise TypeError(f"output_names must be a sequence of str, got {self.output_names!r}")

    def _check_size(self) -> None:
        checks.integer(self.multiple, "multiple", least=1)
        if self.size is None:
            return
        sides: list[tuple[int, int] | int]
        if self.fit not in ("stretch", "pad"):
            sides, least = [self.size], self.multiple
        elif isinstance(self.size, tuple) and len(self.size) == 2:
            sides, least = list(self.size), 1
        else:
            raise TypeError(f"size must be (height, width) for the fit {self.fit!r}, got {self.size!r}")
        for side in sides:
            if checks.integer(side, "size", least=least) > LARGEST_SIDE:
                raise ValueError(f"size must be <= {LARGEST_SIDE}, got {side!r}")

    def _check_limits(self) -> None:
        if self.limits is None:
            return
        limits = checks.numbers(self.limits, "limits")
        low, high = limits[0], limits[-1]
        possible = {"metric": low > 0, "relative": low >= 0 and high <= 1, "inverse": False}[self.kind]
        if len(limits) != 2 or low >= high or not possible:
            raise ValueError(
                "limits must hold the smallest and the largest value: metres > 0 for metric output, 0..1 for relative, "
                f"none for the others, got {self.limits!r}"
            )

    @property
    def kind(self) -> Kind:
        """The kind of the depth map."""
        return _KINDS[self.output]

    @property
    def needs_focal_length(self) -> bool:
        """Whether metres follow from the output only with the camera's focal length."""
        return self.output.startswith("canonical")

    @property
    def range(self) -> tuple[float, float] | None:
        """The range of the depth, None where it has none."""
        return _METRIC_LIMITS if self.limits is None and self.kind == "metric" else self.limits

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) in which the network wants to see a photo of `height` x `width`.

        Examples
        --------
        >>> ModelCard(name="mine", output="inverse", fit="shortest", size=518, multiple=14).input_size(3000, 4000)
        (518, 686)
        >>> ModelCard(name="mine", output="inverse", size=(224, 224)).input_size(3000, 4000)
        (224, 224)
        """
        if isinstance(self.size, tuple):
            return self.size
        assert self.size is not None, "the file fixes the size"
        scale = self.size / (min if self.fit == "shortest" else max)(height, width)
        if self.fit == "reduce":
            scale = min(scale, 1.0)
        most = self.size * (_LONGEST_PART if self.fit == "shortest" else 1) // self.multiple
        rows, columns = (min(most, max(1, round(side * scale / self.multiple))) for side in (height, width))
        return rows * self.multiple, columns * self.multiple
