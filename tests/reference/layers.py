"""A photo taken apart as in `fastrefocus.rendering.layers`, pixel by pixel."""

import itertools

import numpy as np

NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def neighbour_counts(pixels, first, last, bins):
    counts = np.zeros((bins, bins), int)
    for y, x in itertools.product(range(first, last), range(pixels.shape[1])):
        for v, u in ((y, x - 1), (y - 1, x)):
            if u >= 0 and v >= 0 and pixels[v, u] != pixels[y, x]:
                counts[min(pixels[v, u], pixels[y, x]), max(pixels[v, u], pixels[y, x])] += 1
    return counts


def survey(labels, groups, block):
    """First and last row and column of each group (-1: it has none), and the blocks in which it has pixels."""
    boxes = np.full((groups, 4), -1)
    blocks = np.zeros((groups, -(-labels.shape[0] // block), -(-labels.shape[1] // block)), bool)
    for label in np.unique(labels):
        rows, columns = np.nonzero(labels == label)
        boxes[label] = rows.min(), rows.max(), columns.min(), columns.max()
        blocks[label, rows // block, columns // block] = True
    return boxes, blocks


def peel(labels, label):
    """Pixels of the group and of nearer ones take the label of the nearest pixel farther away, of equals the least."""
    peeled = labels.copy()
    farther = np.argwhere(labels < label)
    for y, x in np.argwhere(labels >= label):
        distance = np.abs(farther - (y, x)).sum(axis=1)
        peeled[y, x] = labels[tuple(farther[distance == distance.min()].T)].min()
    return peeled


def halving(length, smooth):
    """(half, length) weights of an image of half the size."""
    half = (length + 1) // 2
    offsets = np.arange(length) - (2 * np.arange(half) + (length % 2 == 0) / 2)[:, np.newaxis]
    distance = np.abs(offsets)
    if length % 2:
        return np.select([distance == 0, distance == 1], [0.5, 0.25], 0)
    weights = (0.375, 0.125) if smooth else (0.5, 0.0)
    return np.select([distance == 0.5, distance == 1.5], weights, 0)


def doubling(length):
    """(length, half) weights of an image of twice the size: bilinear, the middles of the pixels in their places."""
    half = (length + 1) // 2
    places = np.arange(length) / 2 - (0.25 if length % 2 == 0 else 0)
    return np.clip(1 - np.abs(np.clip(places, 0, half - 1)[:, np.newaxis] - np.arange(half)), 0, None)


def push_pull(values, weights, smooth=False):
    """Values (H, W, N) filled where their weights (H, W) are less than 1.

    The first halving takes plain means of four, as `smooth` says. Returns the half image enlarged.
    """
    rows, columns = halving(len(weights), smooth), halving(weights.shape[1], smooth)
    total = rows @ weights @ columns.T
    sums = np.einsum("yi,ijc,xj->yxc", rows, values * weights[..., np.newaxis], columns)
    half = np.divide(sums, total[..., np.newaxis], out=np.zeros_like(sums), where=total[..., np.newaxis] > 0)
    weight = np.minimum(4 * total, 1)[..., np.newaxis]
    if total.size > 1 and (weight < 1).any():
        half = weight * half + (1 - weight) * push_pull(half, weight[..., 0], smooth=True)
    return np.einsum("iy,yxc,jx->ijc", doubling(len(weights)), half, doubling(weights.shape[1]))


def part_light(light, own, behind, inside, low, high):
    """Part light = a F + (1 - a) B, given guesses at F and B: a in steps of 1 / 254, and a F."""
    difference, rest = own - behind, light - behind
    fit = np.clip(rest @ difference / max(difference @ difference, 1e-12), 0, 1)
    doubt = 1e-3 + 16 * np.sum((rest - fit * difference) ** 2)
    alpha = (rest @ difference + doubt * inside) / (difference @ difference + doubt)
    alpha = np.floor(np.clip(alpha, 0, 1) * 254 + 0.5) / 254
    least = np.maximum(low, np.minimum(own, behind) / 2 - 0.05)
    most = np.minimum(high, 2 * np.maximum(own, behind) + 0.1)
    return alpha, np.clip(light - (1 - alpha) * behind, alpha * least, alpha * most)


def take_apart(light, radius, labels, margin, jump, light_range):
    """All layers, the farthest first, each as large as the photo: [(values, cover)]."""
    plate = light.astype(np.float64)
    behind = [labels]
    for label in range(labels.max(), 0, -1):
        behind.insert(0, peel(behind[0], label))
    return [
        make_layer(light, radius, labels, label, behind[label], margin, jump, light_range, plate)
        for label in range(labels.max() + 1)
    ]


def make_layer(light, radius, labels, label, behind, margin, jump, light_range, plate):
    visible = labels == label
    unsure, mixed = np.zeros_like(visible), np.zeros_like(visible)
    height, width = labels.shape
    for y, x in np.argwhere(labels <= label):
        if min(y, x, height - 1 - y, width - 1 - x) < margin:
            unsure[y, x] = visible[y, x]
            continue
        for dy, dx in NEIGHBOURS:
            v, u = y + dy, x + dx
            if not (0 <= v < height and 0 <= u < width) or labels[v, u] == labels[y, x]:
                continue
            if abs(radius[v, u] - radius[y, x]) > jump:
                unsure[y, x] |= visible[y, x]
                mixed[y, x] |= labels[v, u] < label if visible[y, x] else labels[v, u] == label
    known = np.where(visible, np.where(unsure, 2 / 255, 1), 0)
    values = np.dstack([light, radius]).astype(np.float64)
    filled = push_pull(values, known)
    filled[visible, -1] = radius[visible]
    cover = np.full(labels.shape, 1.0)
    for y, x in np.ndindex(labels.shape):
        if visible[y, x] and not unsure[y, x]:
            cover[y, x] = 255
        elif mixed[y, x]:
            own, under = filled[y, x, :-1].copy(), plate[y, x].copy()
            alpha, values[y, x, :-1] = part_light(light[y, x], own, under, visible[y, x], *light_range)
            values[y, x, -1] = filled[y, x, -1]
            cover[y, x] = 1 + 254 * alpha
            if visible[y, x]:
                plate[y, x] = own
        elif visible[y, x] or (labels[y, x] > label and behind[y, x] == label):
            cover[y, x], values[y, x], plate[y, x] = 255, filled[y, x], filled[y, x, :-1]
        else:
            values[y, x] = [*np.zeros(light.shape[2]), filled[y, x, -1]]
    return values, cover
