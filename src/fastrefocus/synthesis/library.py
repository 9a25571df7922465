"""The library of focused patches and of what the lens would make of them (paper B, sections 2.1 and 3)."""

import io
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import BoolArray, FloatArray, as_image, as_mask, as_psf
from fastrefocus.errors import LibraryError
from fastrefocus.files import replace_file
from fastrefocus.light import decode, encode
from fastrefocus.native._core import PatchTree
from fastrefocus.native._patches import gather_patches

Bytes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int32]
Colours = npt.NDArray[np.uint32]

#: One photo, or a sequence of them; their masks.
Photos = npt.ArrayLike | Sequence[npt.ArrayLike]
Masks = npt.ArrayLike | Sequence[npt.ArrayLike | None] | None

_FORMAT = "fastrefocus patch library"
_VERSION = 1
_MOST_VALUES = 30_000  # a patch; squared distances then fit into 31 bits
_MOST_PATCHES = 2**31 - 1
_DIRECTIONS = 15
_VALUES_FOR_DIRECTIONS = 3_000_000


class _Source(NamedTuple):
    """One focused photo: (H, W, C) uint8, the same blurred, and where patches come from."""

    sharp: Bytes
    blurred: Bytes
    mask: BoolArray


class PatchLibrary:
    """Patches of focused photos, each with its blurred version.

    A blurred patch is the same rectangle of the same photo convolved by the PSF, so that light from outside the
    rectangle counts; photos are mirrored at their borders. Both are kept in 8 bits, whatever the photos had: the
    search compares integers, and so is exact.

    Parameters
    ----------
    focused : array_like or sequence of array_like
        One photo or several, (H, W) or (H, W, 3), uint8, uint16 or float 0..1, all grey or all RGB. Each is at
        least as large as a patch and as the PSF.
    psf : array_like
        (h, w), odd, the blur of the photo to be refocused; should sum to 1. See `fit_disk_psf`.
    masks : array_like or sequence of array_like, optional
        A mask for each photo, (H, W), or None for all of it. Patches lie wholly inside. With one photo, one mask.
    patch_size : int
        Width and height of a patch in pixels, odd.
    linearize : bool
        Blur in linear light (the photos are sRGB-encoded), as a lens does. False: blur the values as they are.

    Attributes
    ----------
    patch_size : int
        As given.
    patches, blurred : ndarray
        (N, D) uint8: each patch row by row, the channels of a pixel side by side; D = patch_size**2 * channels. Made
        on demand from the photos.
    positions : ndarray
        (N, 3) int32: the photo that a patch comes from, row and column of its centre.

    Raises
    ------
    TypeError, ValueError
        If a photo, a mask or the PSF is not valid, photos are smaller than a patch or than the PSF, or no patch lies
        wholly inside the masks.

    References
    ----------
    Paper B, sections 2.1 and 3.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrefocus import PatchLibrary, disk_psf
    >>> focused = np.random.default_rng(0).random((20, 30, 3))
    >>> library = PatchLibrary(focused, disk_psf(3))
    >>> len(library), library.patches.shape, library.positions[0]
    (416, (416, 75), array([0, 2, 2], dtype=int32))
    """

    def __init__(
        self,
        focused: Photos,
        psf: npt.ArrayLike,
        *,
        masks: Masks = None,
        patch_size: int = 5,
        linearize: bool = True,
    ) -> None:
        photos = as_photos(focused)
        if len({photo.ndim for photo in photos}) > 1:
            raise ValueError(f"focused must be all grey or all RGB, got shapes {[photo.shape for photo in photos]}")
        size = _check_patch_size(patch_size, [photo.shape for photo in photos], 1 if photos[0].ndim == 2 else 3)
        given = as_masks(masks, photos)
        own_masks = [
            np.ones(photo.shape[:2], np.bool_) if mask is None else mask
            for mask, photo in zip(given, photos, strict=True)
        ]
        kernels = [as_psf(psf, photo.shape) for photo in photos]
        linear = checks.flag(linearize, "linearize")
        positions = _find_positions(own_masks, size)
        sources = [
            _Source(quantise(photo), quantise(_blur(photo, kernel, linear)), mask)
            for photo, kernel, mask in zip(photos, kernels, own_masks, strict=True)
        ]
        self._set(sources, size, positions, None)

    def _set(self, sources: list[_Source], patch_size: int, positions: Indices, centroids: FloatArray | None) -> None:
        self._sources = sources
        self.patch_size = patch_size
        self.positions = positions
        self.centroids = centroids  # of the approximate index, once it is trained

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return int(self._sources[0].sharp.shape[2])

    @property
    def patches(self) -> Bytes:
        """The focused patches, (N, D) uint8."""
        return np.concatenate([gather_patches(s.sharp, s.mask, self.patch_size)[0] for s in self._sources])

    @property
    def blurred(self) -> Bytes:
        """The blurred patches, (N, D) uint8."""
        return np.concatenate([gather_patches(s.blurred, s.mask, self.patch_size)[0] for s in self._sources])

    @cached_property
    def colours(self) -> Colours:
        """The centres of the focused patches, (N,) uint32: red + 256 green + 65536 blue, or the grey value."""
        photo, row, column = self.positions.T
        centres = np.empty((len(self), self.channels), np.uint8)
        for i, source in enumerate(self._sources):
            own = photo == i
            centres[own] = source.sharp[row[own], column[own]]
        return pack_colours(centres)

    @cached_property
    def blurred_tree(self) -> PatchTree:
        """The search for blurred patches."""
        return _plant(self.blurred, self.colours)

    @cached_property
    def context_tree(self) -> PatchTree:
        """The search for focused patches without their centres."""
        centre = self.patch_size**2 // 2 * self.channels
        return _plant(np.delete(self.patches, np.s_[centre : centre + self.channels], axis=1), self.colours)

    @cached_property
    def rows_apart(self) -> tuple[Indices, Indices]:
        """For each patch, the ones whose centres lie one row further up and one further down; -1: none."""
        above = np.full(len(self), -1, np.int32)
        below = np.full(len(self), -1, np.int32)
        photo, row, column = self.positions.T
        for i, source in enumerate(self._sources):
            own = np.flatnonzero(photo == i).astype(np.int32)
            index = np.full((source.mask.shape[0] + 2, source.mask.shape[1]), -1, np.int32)
            index[row[own] + 1, column[own]] = own
            above[own] = index[row[own], column[own]]
            below[own] = index[row[own] + 2, column[own]]
        return above, below

    def __getstate__(self) -> dict[str, Any]:
        """Leave the trees out: they are built again when they are needed."""
        return {name: self.__dict__[name] for name in ("_sources", "patch_size", "positions", "centroids")}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the library to a file, which is replaced as a whole if it exists.

        The file is a compressed NumPy archive (.npz) without pickled objects. It holds `format` and `version`,
        `patch_size`, for each photo i the arrays `sharp_i` and `blurred_i`, (H, W, C) uint8, and `mask_i`, (H, W)
        bool, and, once a search with ``search="faiss-ivf"`` has trained the approximate index, its `centroids`,
        (K, D) float32.

        Parameters
        ----------
        path : str or os.PathLike
            The file.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        arrays: dict[str, Any] = {"format": _FORMAT, "version": _VERSION, "patch_size": self.patch_size}
        for i, source in enumerate(self._sources):
            arrays |= {f"{name}_{i}": array for name, array in source._asdict().items()}
        if self.centroids is not None:
            arrays["centroids"] = self.centroids
        data = io.BytesIO()
        np.savez_compressed(data, allow_pickle=False, **arrays)
        target = Path(os.path.realpath(path))
        if not target.parent.is_dir():
            raise FileNotFoundError(f"{path} cannot be written: there is no folder {target.parent}")
        replace_file(target, data.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "PatchLibrary":
        """Read a library that `save` wrote.

        Parameters
        ----------
        path : str or os.PathLike
            The file.

        Returns
        -------
        PatchLibrary
            With the same patches, in the same order.

        Raises
        ------
        OSError
            If the file cannot be read.
        LibraryError
            If it is damaged, cut short, or not a patch library of this version.
        """
        data = Path(path).read_bytes()
        library = cls.__new__(cls)
        try:
            library._set(*_parse(data))
        # zipfile and NumPy answer damage and foreign files with all kinds of errors
        except Exception as error:
            raise LibraryError(f"{path} is not a patch library, or it is damaged: {error}") from None
        return library


def quantise(image: FloatArray) -> Bytes:
    """Round an image, 0..1, to 8 bits, (H, W, C)."""
    values: Bytes = np.rint(np.clip(image, 0, 1) * np.float32(255)).astype(np.uint8)
    return values if values.ndim == 3 else values[..., np.newaxis]


def pack_colours(values: Bytes) -> Colours:
    """Pack colours, (..., C) uint8, into integers: red + 256 green + 65536 blue, or the grey value."""
    shifts = np.arange(values.shape[-1], dtype=np.uint32) * np.uint32(8)
    packed: Colours = np.bitwise_or.reduce(values.astype(np.uint32) << shifts, axis=-1)
    return packed


def unpack_colours(colours: Colours, channels: int) -> Bytes:
    """Undo `pack_colours`: (..., channels) uint8."""
    shifts = np.arange(channels, dtype=np.uint32) * np.uint32(8)
    values: Bytes = (colours[..., np.newaxis] >> shifts & np.uint32(255)).astype(np.uint8)
    return values


def as_photos(focused: Photos) -> list[FloatArray]:
    """Check one focused photo or a sequence of them."""
    if not isinstance(focused, (list, tuple)):
        return [as_image(cast(npt.ArrayLike, focused), "focused")]
    if not focused:
        raise ValueError("focused must be a photo or at least one of them, got an empty sequence")
    return [as_image(photo, f"focused[{i}]") for i, photo in enumerate(focused)]


def as_masks(masks: Masks, photos: Sequence[FloatArray], name: str = "masks") -> list[BoolArray | None]:
    """Check the masks of photos; None stands for all of a photo."""
    given: list[Any] = [masks] if masks is not None else [None] * len(photos)
    if isinstance(masks, (list, tuple)):
        given = list(masks)
    if len(given) != len(photos):
        raise ValueError(f"{name} must be as many as the photos, {len(photos)}, got {len(given)}")
    names = [name] if len(photos) == 1 else [f"{name}[{i}]" for i in range(len(photos))]
    return [
        None if mask is None else as_mask(mask, photo.shape[:2], own).copy()
        for mask, photo, own in zip(given, photos, names, strict=True)
    ]


def _find_positions(masks: list[BoolArray], patch_size: int) -> Indices:
    """Return photo, row and column of every patch's centre, (N, 3) int32."""
    # The gather tells the positions; the values do not matter.
    found = [gather_patches(mask.view(np.uint8), mask, patch_size)[1] for mask in masks]
    positions = np.concatenate([np.column_stack([np.full(len(own), i, np.int32), own]) for i, own in enumerate(found)])
    if not 0 < len(positions) <= _MOST_PATCHES:
        raise ValueError(
            f"masks must leave at least one patch of {patch_size} x {patch_size} pixels wholly inside, and fewer than "
            f"2^31, got {len(positions)}"
        )
    return positions


def _check_patch_size(patch_size: int, shapes: Sequence[tuple[int, ...]], channels: int) -> int:
    size = checks.integer(patch_size, "patch_size", least=1)
    if size % 2 == 0:
        raise ValueError(f"patch_size must be odd (a patch has a centre pixel), got {patch_size}")
    if size * size * channels > _MOST_VALUES:
        raise ValueError(f"patch_size must leave a patch at most {_MOST_VALUES} values, got {patch_size}")
    for shape in shapes:
        if min(shape[:2]) < size:
            raise ValueError(f"focused of shape {shape} is smaller than a patch of {size} x {size} pixels")
    return size


def _blur(photo: FloatArray, psf: FloatArray, linearize: bool) -> FloatArray:
    from scipy.signal import oaconvolve

    margins = [(length // 2, length // 2) for length in psf.shape] + [(0, 0)] * (photo.ndim - 2)
    light = np.pad(decode(photo) if linearize else photo, margins, mode="symmetric")
    kernel = psf.reshape(psf.shape + (1,) * (photo.ndim - 2))
    blurred: FloatArray = oaconvolve(light, kernel, mode="valid", axes=(0, 1)).astype(np.float32)
    return encode(blurred) if linearize else blurred


def _plant(patches: Bytes, colours: Colours) -> PatchTree:
    """Build a tree over the first principal components of the patches, or nearly so: any directions give the same."""
    step = -(-len(patches) * patches.shape[1] // _VALUES_FOR_DIRECTIONS)
    sample = patches[:: max(step, 1)].astype(np.float64)
    mean = sample.mean(axis=0)
    return PatchTree(patches, colours, _principal_directions(sample - mean, _DIRECTIONS), mean)


def _principal_directions(rows: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Return orthonormal rows, nearly the first principal components (subspace iteration, Halko et al. 2011)."""
    dims = rows.shape[1]
    span = np.linalg.qr(np.random.RandomState(0).standard_normal((dims, min(count + 10, dims))))[0]
    for _ in range(4):
        span = np.linalg.qr(rows.T @ (rows @ span))[0]
    reduced = rows @ span
    _, rotation = np.linalg.eigh(reduced.T @ reduced)
    return np.ascontiguousarray((span @ rotation[:, : -count - 1 : -1]).T)


def _parse(data: bytes) -> tuple[list[_Source], int, Indices, FloatArray | None]:
    """Take a library's parts from the bytes of a file, or say what is wrong."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays: dict[str, npt.NDArray[Any]] = {name: archive[name] for name in archive.files}
    if str(arrays["format"]) != _FORMAT or str(arrays["version"]) != str(_VERSION):
        raise ValueError(f"it says format {arrays['format']}, version {arrays['version']}")
    count = sum(name.startswith("sharp_") for name in arrays)
    if count == 0:
        raise ValueError("it holds no photo")
    sources = [_Source(*(arrays[f"{name}_{i}"] for name in _Source._fields)) for i in range(count)]
    channels = sources[0].sharp.shape[-1]
    for sharp, blurred, mask in sources:
        if sharp.dtype != np.uint8 or sharp.ndim != 3 or sharp.shape[2] != channels or channels not in (1, 3):
            raise ValueError(f"a photo has shape {sharp.shape} and dtype {sharp.dtype}")
        if blurred.dtype != np.uint8 or blurred.shape != sharp.shape:
            raise ValueError(f"a blurred photo has shape {blurred.shape} and dtype {blurred.dtype}")
        if mask.dtype != np.bool_ or mask.shape != sharp.shape[:2]:
            raise ValueError(f"a mask has shape {mask.shape} and dtype {mask.dtype}")
    patch_size: Any = arrays["patch_size"][()]
    size = _check_patch_size(patch_size, [source.sharp.shape for source in sources], channels)
    positions = _find_positions([source.mask for source in sources], size)
    return sources, size, positions, _check_centroids(arrays.get("centroids"), size * size * channels)


def _check_centroids(centroids: npt.NDArray[Any] | None, dims: int) -> FloatArray | None:
    if centroids is None:
        return None
    if centroids.dtype != np.float32 or centroids.ndim != 2 or centroids.shape[1] != dims or not len(centroids):
        raise ValueError(f"the centroids have shape {centroids.shape} and dtype {centroids.dtype}")
    if not np.isfinite(centroids).all():
        raise ValueError("the centroids are not finite")
    return centroids
