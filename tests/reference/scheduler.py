"""The orders of assignment as one would write them down: slow and obvious."""

import heapq

import numpy as np


def heap_order(confidence, mask=None):
    """Pixels by (confidence descending, raster index ascending), from Python's own priority queue."""
    values = confidence.ravel().tolist()
    inside = range(len(values)) if mask is None else np.flatnonzero(mask).tolist()
    heap = [(-values[pixel], pixel) for pixel in inside]
    heapq.heapify(heap)
    return [heapq.heappop(heap)[1] for _ in range(len(heap))]


def window(pixel, shape, radius):
    """The other pixels of the window around a pixel, clipped to the map."""
    height, width = shape
    row, column = divmod(pixel, width)
    rows = range(max(row - radius, 0), min(row + radius + 1, height))
    columns = range(max(column - radius, 0), min(column + radius + 1, width))
    return [y * width + x for y in rows for x in columns if (y, x) != (row, column)]


def predecessors(confidence, radius, mask=None):
    """For each scheduled pixel, those in its window that come before it in the serial order."""
    rank = {pixel: i for i, pixel in enumerate(heap_order(confidence, mask))}
    return {
        pixel: {q for q in window(pixel, confidence.shape, radius) if q in rank and rank[q] < rank[pixel]}
        for pixel in rank
    }


def level_batches(confidence, radius, mask=None):
    """Pixels in levels: each one level below the deepest of its predecessors."""
    before = predecessors(confidence, radius, mask)
    level = {}
    batches = []
    for pixel in heap_order(confidence, mask):
        level[pixel] = max((level[q] + 1 for q in before[pixel]), default=0)
        if level[pixel] == len(batches):
            batches.append([])
        batches[level[pixel]].append(pixel)
    return batches


class ArgmaxOrder:
    """A priority queue with update that looks at every waiting pixel each time."""

    def __init__(self, confidence, mask=None):
        self.priority = confidence.ravel().copy()
        self.waiting = np.ones(confidence.size, bool) if mask is None else mask.ravel().copy()

    def pop(self):
        pixels = np.flatnonzero(self.waiting)
        pixel = int(pixels[np.argmax(self.priority[pixels])])  # argmax: the first of several
        self.waiting[pixel] = False
        return pixel

    def update(self, pixels, priorities):
        self.priority[pixels] = priorities
