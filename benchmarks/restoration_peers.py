"""Other ways to restore an out-of-focus photo, each with the parameters that the true photo likes best."""

from collections.abc import Callable, Sequence

import numpy as np
from skimage.restoration import richardson_lucy

import fastrefocus as fr

RADII = (1.5, 2, 2.5, 3, 3.5, 4, 5, 6)
WIENER_LAMS = (0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
COUNTS = (3, 6, 12, 25, 50)
TV_SHARES = (0.001, 0.003, 0.007, 0.015, 0.03)  # of the photo's standard deviation


def wiener(photo: np.ndarray, radius: float, lam: float) -> np.ndarray:
    """The mean is kept apart: the filter would darken the photo by 1 / (1 + lam)."""
    mean = photo.mean()
    return fr.deconvolve(photo - mean, fr.disk_psf(2 * radius), method="wiener", lam=lam).image + mean


def lucy(photo: np.ndarray, radius: float, count: float) -> np.ndarray:
    return richardson_lucy(photo, fr.disk_psf(2 * radius), num_iter=int(count), clip=False)


def one_radius(photo: np.ndarray, radius: float, share: float) -> np.ndarray:
    lam = share * float(photo.std())
    return fr.deconvolve(photo, fr.disk_psf(2 * radius), lam=lam, num_iter=60, tol=1e-3).image


#: Name, method, values of its parameter, and the one that the radius is first chosen with.
PEERS: dict[str, tuple[Callable[[np.ndarray, float, float], np.ndarray], Sequence[float], float]] = {
    "Wiener": (wiener, WIENER_LAMS, 0.1),
    "Richardson-Lucy": (lucy, COUNTS, 12),
    "one radius, TV": (one_radius, TV_SHARES, 0.007),
}


def best(photo: np.ndarray, peer: str, score: Callable[[np.ndarray], float], rounds: int = 2) -> tuple[np.ndarray, str]:
    """Return the best image by radius and parameter in turn, twice, and what they were."""
    method, parameters, parameter = PEERS[peer]
    tried: dict[tuple[float, float], tuple[float, np.ndarray]] = {}

    def trial(pair: tuple[float, float]) -> float:
        if pair not in tried:
            image = method(photo, *pair)
            tried[pair] = score(image), image
        return tried[pair][0]

    for _ in range(rounds):
        radius = max(RADII, key=lambda radius: trial((radius, parameter)))
        parameter = max(parameters, key=lambda parameter: trial((radius, parameter)))
    return tried[radius, parameter][1], f"r {radius:g}, {parameter:g}"
