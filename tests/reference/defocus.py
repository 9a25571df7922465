"""Layers scattered as in `fastrefocus.rendering.scatter`, each pixel's kernel added as a dense array."""

import numpy as np

LEAST_COVERAGE = 1e-5  # less is taken for rounding


def kernel(spans, radius):
    """The share of each pixel that an aperture of a radius covers, of the whole: the strips around its scanlines."""
    reach = int(radius + 0.5)
    edges = np.arange(-reach, reach + 2) - 0.5
    strips = radius * np.linspace(-1, 1, len(spans) + 1)
    overlap_y = np.clip(np.minimum.outer(edges[1:], strips[1:]) - np.maximum.outer(edges[:-1], strips[:-1]), 0, None)
    left, right = radius * spans.astype(np.float64).T
    overlap_x = np.clip(np.minimum.outer(right, edges[1:]) - np.maximum.outer(left, edges[:-1]), 0, None)
    shares = overlap_y @ overlap_x
    if reach == 0 or shares.sum() <= 0:
        shares = np.zeros_like(shares)
        shares[reach, reach] = 1
    return shares / shares.sum()


def joined(length, level):
    """(cells, length): the share of each pixel in the cells of a level, which lie symmetrically in the picture."""
    size = 2**level
    count = 2 * -(-length // (2 * size)) if level else length
    edges = np.arange(count + 1) * size - (count * size - length) / 2
    pixels = np.arange(length + 1)
    return np.clip(
        np.minimum.outer(edges[1:], pixels[1:]) - np.maximum.outer(edges[:-1], pixels[:-1]), 0, None
    )  # fmt: skip


def enlarged(length, level):
    """(length, cells): the weights of the cells in each pixel, bilinear between their middles."""
    count = len(joined(length, level))
    places = (np.arange(length) + 0.5 + (count * 2**level - length) / 2) / 2**level - 0.5
    cells = np.arange(count)
    return np.clip(1 - np.abs(np.clip(places, 0, count - 1)[:, np.newaxis] - cells), 0, None)


def level_sums(values, cover, offset, level, threshold, spans, steps, second_moment):
    """Light and coverage (h, w, C + 1) and coverage from outside (h, w) of one level, at the level's size.

    spans: of the aperture as it is, and turned.
    """
    radius = (values[..., -1] + np.float32(offset)).astype(np.float64)
    size = 2**level
    least, most = (threshold * size / 2 if level else -1), threshold * size
    alpha = (cover.astype(np.float64) - 1) / 254
    mine = (cover > 0) & (np.abs(radius) > least) & (np.abs(radius) <= most)
    rows, columns = joined(values.shape[0], level), joined(values.shape[1], level)
    planes = np.dstack([values[..., :-1], alpha, 1 - alpha, radius]) * mine[..., np.newaxis]
    cells = np.einsum("yi,ijc,xj->yxc", rows, planes, columns) / size**2
    sums = np.zeros((*cells.shape[:2], cells.shape[2] - 1))
    for y, x in np.argwhere(cells[..., -3] + cells[..., -2] > 0):
        *amounts, total = cells[y, x]
        r = abs(total) / (amounts[-1] + amounts[-2]) / size
        if level:
            r = np.sqrt(max(r**2 - (1 / 3 - 1 / (12 * size**2)) / second_moment, 0))
        step = int(min(r, threshold) * steps + 0.5)
        add(sums, y, x, kernel(spans[int(total > 0)], min(step / steps, threshold)), amounts)
    return sums[..., :-1], sums[..., -1]


def add(sums, y, x, shares, amounts):
    """Add the amounts, spread by a kernel around (y, x), to what of it lies inside the picture."""
    reach = len(shares) // 2
    padded = np.pad(np.zeros(sums.shape[:2]), reach)
    padded[y : y + 2 * reach + 1, x : x + 2 * reach + 1] = shares
    inside = padded[reach : reach + sums.shape[0], reach : reach + sums.shape[1]]
    sums += inside[..., np.newaxis] * np.asarray(amounts)


def composite(values, cover, offset, threshold, spans, steps, second_moment, levels, canvas):
    """The layer over the canvas, of the layer's size, and the coverage that its light is divided by."""
    total, outside = 0, 0
    for level in range(levels + 1):
        light, beyond = level_sums(values, cover, offset, level, threshold, spans, steps, second_moment)
        rows, columns = enlarged(values.shape[0], level), enlarged(values.shape[1], level)
        total = total + np.einsum("iy,yxc,jx->ijc", rows, light, columns)
        outside = outside + rows @ beyond @ columns.T
    coverage = total[..., -1:]
    whole = coverage + outside[..., np.newaxis]
    some = coverage > LEAST_COVERAGE
    scale = np.where(some, 1 / np.where(some, whole, 1), 0)
    return total[..., :-1] * scale + (1 - coverage * scale) * canvas, whole
