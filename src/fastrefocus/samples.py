"""Sample photos that come with scikit-image, by name."""

import numpy as np

from fastrefocus.photo import Photo

#: Photos that scikit-image carries in its package, under a free licence.
SAMPLES = ("astronaut", "brick", "camera", "chelsea", "coffee", "rocket")


def load_sample(name: str) -> Photo:
    """Return one of `SAMPLES`.

    Raises
    ------
    ValueError
        If there is no sample of that name.
    """
    if name not in SAMPLES:
        raise ValueError(f"there is no sample photo {name!r}; there are {', '.join(SAMPLES)}")
    import skimage.data

    return Photo(np.asarray(getattr(skimage.data, name)(), np.float32) / np.float32(255))
