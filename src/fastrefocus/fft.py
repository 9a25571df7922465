"""Real 2-D Fourier transforms: the one place that knows which library computes them.

pyFFTW is the default; ``FASTREFOCUS_FFT=scipy`` in the environment chooses scipy.fft, which needs no GPL code.

A transform here is made of one-dimensional ones: along the rows of the whole image, then along its columns,
a block of columns at a time. A block is transposed, filtered and transformed back while it is in the cache,
which makes a filter faster than the two-dimensional plans of either library. Rows begin at multiples of 16 bytes, or
FFTW leaves its vector code aside. Plans are FFTW_ESTIMATE and single-threaded, so that the same input gives the same
bits in every run; callers run channels in threads.
"""

import os
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray

ComplexArray = npt.NDArray[np.complex64]

#: Called with a block of every image's spectrum, complex64 (count, columns, H), to change in place, and the columns'
#: slice.
BlockFilter = Callable[[ComplexArray, slice], None]

ENVIRONMENT_VARIABLE = "FASTREFOCUS_FFT"
_BLOCK_COLUMNS = 32  # 32 columns of 1024 rows fill a quarter of a 1 MB cache
_FEWEST_COLUMNS = 8  # of a block of many images: a line of the cache holds 8 complex numbers


def fast_size(size: int) -> int:
    """Return the smallest multiple of 4 that is >= `size` and has no prime factor above 7.

    Parameters
    ----------
    size : int
        At least 1.

    Returns
    -------
    int
        The size to pad to.

    Examples
    --------
    >>> fast_size(513), fast_size(1021)
    (540, 1024)
    """
    candidate = size + -size % 4
    while _without_small_factors(candidate) != 1:
        candidate += 4
    return candidate


def backend_name() -> str:
    """Return the FFT library in use, "pyfftw" or "scipy", as the environment says.

    Raises
    ------
    ValueError
        If ``FASTREFOCUS_FFT`` names another one.
    """
    name = os.environ.get(ENVIRONMENT_VARIABLE, "pyfftw")
    if name not in _BACKENDS:
        raise ValueError(f"{ENVIRONMENT_VARIABLE} must be one of {sorted(_BACKENDS)}, got {name!r}")
    return name


class RealFFT2:
    """Transforms of real images of one size, a few at a time, by way of buffers of its own.

    An object serves one thread at a time. The spectrum of an (H, W) image is stored transposed, as complex64
    (W // 2 + 1, H): element [k, i] belongs to horizontal frequency k / W and vertical frequency i / H.

    Parameters
    ----------
    shape : tuple of int
        (H, W) of the images.
    count : int
        How many images `filter` works on together.

    Attributes
    ----------
    input : ndarray
        float32 (count, H, W): the images that `filter` starts from.
    output : ndarray
        float32 (count, H, W): the images that `filter` makes.
    """

    def __init__(self, shape: tuple[int, int], count: int = 1) -> None:
        self.shape = shape
        height, width = shape
        self._block_columns = max(_BLOCK_COLUMNS // count, _FEWEST_COLUMNS)
        self._backend = _BACKENDS[backend_name()](count, height, width, self._block_columns)
        self.input = self._backend.input
        self.output = self._backend.output

    @property
    def spectrum_shape(self) -> tuple[int, int]:
        """Shape of the transposed spectrum, (W // 2 + 1, H)."""
        return self.shape[1] // 2 + 1, self.shape[0]

    def forward(self, image: FloatArray) -> ComplexArray:
        """Return the transposed spectrum of an (H, W) float32 image."""
        spectrum = np.empty(self.spectrum_shape, np.complex64)
        self.input[...] = image
        self._backend.forward_rows()
        for columns in self._blocks():
            spectrum[columns] = self._backend.forward_columns(columns)[0]
        return spectrum

    def filter(self, change: BlockFilter) -> None:
        """Transform `input`, let `change` work on every block of the spectra, and transform into `output`.

        The inverse is not normalised: `change` has to divide by H * W. `input` is kept.
        """
        self._backend.forward_rows()
        for columns in self._blocks():
            block = self._backend.forward_columns(columns)
            change(block, columns)
            self._backend.inverse_columns(block, columns)
        self._backend.inverse_rows()

    def _blocks(self) -> list[slice]:
        count, step = self.shape[1] // 2 + 1, self._block_columns
        return [slice(k, min(k + step, count)) for k in range(0, count, step)]


class _Backend(Protocol):
    input: FloatArray  # (count, H, W)
    output: FloatArray  # (count, H, W)

    def __init__(self, count: int, height: int, width: int, block_columns: int) -> None: ...
    def forward_rows(self) -> None: ...
    def forward_columns(self, columns: slice) -> ComplexArray: ...
    def inverse_columns(self, block: ComplexArray, columns: slice) -> None: ...
    def inverse_rows(self) -> None: ...


class _PyFFTW:
    def __init__(self, count: int, height: int, width: int, block_columns: int) -> None:
        try:
            import pyfftw
        except ImportError as error:
            raise ImportError(
                f"pyFFTW cannot be imported ({error}); install it, or set {ENVIRONMENT_VARIABLE}=scipy"
            ) from error
        columns = width // 2 + 1
        self.input = pyfftw.zeros_aligned((count, height, width), np.float32)
        self.output = pyfftw.zeros_aligned((count, height, width), np.float32)
        self._rows = pyfftw.zeros_aligned((count, height, columns + columns % 2), np.complex64)[..., :columns]
        self._block = pyfftw.zeros_aligned(count * block_columns * height, np.complex64)
        self._back = pyfftw.zeros_aligned(count * block_columns * height, np.complex64)
        self._plans: dict[int, tuple[Any, Any]] = {}  # forward and inverse, for the first column of each block
        self._forward_rows = pyfftw.FFTW(self.input, self._rows, axes=(2,), flags=("FFTW_ESTIMATE",))
        self._inverse_rows = pyfftw.FFTW(
            self._rows, self.output, axes=(2,), direction="FFTW_BACKWARD",
            flags=("FFTW_ESTIMATE", "FFTW_DESTROY_INPUT"),
        )  # fmt: skip

    def _column_plans(self, columns: slice) -> tuple[Any, Any]:
        import pyfftw

        if columns.start not in self._plans:
            rows = self._rows[..., columns].transpose(0, 2, 1)
            block, back = (buffer[: rows.size].reshape(rows.shape) for buffer in (self._block, self._back))
            self._plans[columns.start] = (
                pyfftw.FFTW(rows, block, axes=(2,), flags=("FFTW_ESTIMATE",)),
                pyfftw.FFTW(block, back, axes=(2,), direction="FFTW_BACKWARD", flags=("FFTW_ESTIMATE",)),
            )
        return self._plans[columns.start]

    def forward_rows(self) -> None:
        self._forward_rows.execute()

    def forward_columns(self, columns: slice) -> ComplexArray:
        forward = self._column_plans(columns)[0]
        forward.execute()
        block: ComplexArray = forward.output_array
        return block

    def inverse_columns(self, block: ComplexArray, columns: slice) -> None:
        inverse = self._column_plans(columns)[1]
        inverse.execute()
        self._rows[..., columns] = inverse.output_array.transpose(0, 2, 1)

    def inverse_rows(self) -> None:
        self._inverse_rows.execute()


class _SciPy:
    def __init__(self, count: int, height: int, width: int, block_columns: int) -> None:
        self._width = width
        self._rows = np.zeros((count, height, width // 2 + 1), np.complex64)
        self.input = np.zeros((count, height, width), np.float32)
        self.output = np.zeros((count, height, width), np.float32)

    def forward_rows(self) -> None:
        import scipy.fft

        self._rows = scipy.fft.rfft(self.input, axis=2)

    def forward_columns(self, columns: slice) -> ComplexArray:
        import scipy.fft

        block = np.ascontiguousarray(self._rows[..., columns].transpose(0, 2, 1))
        spectrum: ComplexArray = scipy.fft.fft(block, axis=2, overwrite_x=True)
        return spectrum

    def inverse_columns(self, block: ComplexArray, columns: slice) -> None:
        import scipy.fft

        back = scipy.fft.ifft(block, axis=2, norm="forward", overwrite_x=True)
        self._rows[..., columns] = back.transpose(0, 2, 1)

    def inverse_rows(self) -> None:
        import scipy.fft

        self.output[...] = scipy.fft.irfft(self._rows, n=self._width, axis=2, norm="forward", overwrite_x=True)


_BACKENDS: dict[str, type[_Backend]] = {"pyfftw": _PyFFTW, "scipy": _SciPy}


def _without_small_factors(number: int) -> int:
    for prime in (2, 3, 5, 7):
        while number % prime == 0:
            number //= prime
    return number
