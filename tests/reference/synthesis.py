"""Paper B's method as one would write it down: every patch compared for every pixel, one pixel after the other."""

import numpy as np
from reference.scheduler import heap_order

IMAGE_WEIGHT = 1024


def window(photo, row, column, size):
    """The size x size patch around a pixel, the photo mirrored at its borders."""
    margin = size // 2
    padded = np.pad(photo, [(margin, margin), (margin, margin), (0, 0)], mode="symmetric")
    return padded[row : row + size, column : column + size].ravel()


def squared_distances(patches, patch):
    """Squared distances of all patches, integers, to one."""
    return np.square(patches.astype(np.int32) - patch.astype(np.int32)).sum(axis=1)


def nearest_colours(blurred, centres, patch, count):
    """The nearest patches with distinct centres: (distance, index), by distance and then index."""
    distances = squared_distances(blurred, patch)
    seen, found = set(), []
    for index in np.argsort(distances, kind="stable"):
        colour = tuple(centres[index])
        if colour not in seen:
            seen.add(colour)
            found.append((int(distances[index]), int(index)))
            if len(found) == count:
                break
    return found


def cluster(colours, weights, count, rounds=10):
    """Weighted k-means in integers, begun with the first colours; means, total weights, first members."""
    means = [list(map(int, colour)) for colour in colours[:count]]
    for last in [False] * rounds + [True]:
        nearest = [int(np.argmin(squared_distances(np.array(means), colour))) for colour in colours]  # the first
        members = [[j for j, own in enumerate(nearest) if own == k] for k in range(count)]
        totals = [sum(int(weights[j]) for j in own) for own in members]
        if last:
            break
        moved = [list(mean) for mean in means]
        for k, own in enumerate(members):
            for channel in range(len(means[0])):
                if totals[k]:
                    total = sum(int(weights[j]) * int(colours[j][channel]) for j in own)
                    moved[k][channel] = (2 * total + totals[k]) // (2 * totals[k])
        if moved == means:
            break
        means = moved
    return means, totals, [own[0] if own else -1 for own in members]


def neighbours(row, column, size, shape):
    """(place in a patch, row, column) of the pixels around a pixel that lie inside the picture."""
    margin = size // 2
    for place in range(size * size):
        y, x = row - margin + place // size, column - margin + place % size
        if (y, x) != (row, column) and 0 <= y < shape[0] and 0 <= x < shape[1]:
            yield place, y, x


def best_candidate(picture, row, column, places, patches, candidates, texture_weight, size):
    """The candidate that minimises both constraints' sum; of equal ones the first."""
    channels = picture.shape[2]
    kept = [place for place, _, _ in places] + [size * size // 2]
    columns = np.concatenate([np.arange(place * channels, (place + 1) * channels) for place in kept])
    around = [picture[y, x] for _, y, x in places]
    scores = []
    for colour, distance in candidates:
        patch = np.concatenate([*around, np.asarray(colour, np.uint8)])
        texture = int(squared_distances(patches[:, columns], patch).min())
        scores.append(IMAGE_WEIGHT * distance + texture_weight * texture)
    return int(np.argmin(scores))  # the first


def assign(photo, patches, mask, candidates, order, size, *, causal=False, texture_weight=IMAGE_WEIGHT, passes=1):
    """Assign the pixels in order; `candidates` are lists of (colour, distance) by pixel. Picture, chosen by pixel."""
    width = photo.shape[1]
    picture = photo.copy()
    for pixel in order:
        picture.reshape(-1, picture.shape[2])[pixel] = candidates[pixel][0][0]
    rank = {pixel: i for i, pixel in enumerate(order)}
    chosen = {}
    for _ in range(passes):
        for pixel in order:
            row, column = divmod(pixel, width)
            places = [
                (place, y, x)
                for place, y, x in neighbours(row, column, size, mask.shape)
                if mask[y, x] and (not causal or rank[y * width + x] < rank[pixel])
            ]
            own = candidates[pixel]
            chosen[pixel] = best_candidate(picture, row, column, places, patches, own, texture_weight, size)
            picture[row, column] = own[chosen[pixel]][0]
    return picture, chosen


def synthesize(photo, library, mask, confidence, count=20, order=None, texture=True, **options):
    """The whole method, for 8-bit photos: picture, and the source patch of each pixel."""
    size = library.patch_size
    patches, blurred = library.patches, library.blurred
    middle = size * size // 2 * photo.shape[2]
    centres = patches[:, middle : middle + photo.shape[2]]
    order = heap_order(confidence, mask) if order is None else [int(pixel) for pixel in order]
    found = {
        pixel: nearest_colours(blurred, centres, window(photo, *divmod(pixel, photo.shape[1]), size), count)
        for pixel in order
    }
    candidates = {pixel: [(centres[index], distance) for distance, index in own] for pixel, own in found.items()}
    if texture:
        picture, chosen = assign(photo, patches, mask, candidates, order, size, **options)
    else:
        picture, chosen = photo.copy(), dict.fromkeys(order, 0)
        for pixel in order:
            picture.reshape(-1, photo.shape[2])[pixel] = candidates[pixel][0][0]
    source = np.full(mask.shape, -1, np.int32)
    for pixel in order:
        source.ravel()[pixel] = found[pixel][chosen[pixel]][1]
    return picture, source


def dynamic_order(confidence, means, mask, size):
    """Most confident neighbourhood first, where an assigned pixel's confidence counts as 1."""
    means = means.copy()
    waiting = mask.copy()
    margin = size // 2
    order = []
    while waiting.any():
        pixel = int(np.argmax(np.where(waiting, means, -np.inf)))  # the first of several
        row, column = divmod(pixel, mask.shape[1])
        order.append(pixel)
        waiting[row, column] = False
        for _, y, x in neighbours(row, column, size, mask.shape):
            if waiting[y, x]:
                around = mask[max(y - margin, 0) : y + margin + 1, max(x - margin, 0) : x + margin + 1]
                means[y, x] += (np.float32(1) - confidence[row, column]) / np.float32(around.sum())
    return order
