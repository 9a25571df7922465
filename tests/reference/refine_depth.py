"""The gated minimum and maximum with the photo's vote, pixel by pixel, in float64."""

import numpy as np

VOTERS = [(0, -0.6), (0, 0.6), (-0.6, 0), (0.6, 0), (-0.9, -0.9), (-0.9, 0.9), (0.9, -0.9), (0.9, 0.9)]


def disparity_in_range(values, metric):
    """Disparity with the 1st percentile at 0 and the 99th at 1."""
    linear = 1 / values if metric else values
    low, high = np.nanpercentile(linear, [1, 99])
    return (linear - low) / (high - low)


def edge_width(disparity):
    """The median width of the edges along rows and columns, in windows as large as it; every row and column."""
    widest = max(8, max(disparity.shape) / 48)
    reach = 4
    while reach < 2 * widest:
        widths = [width for lines in (disparity, disparity.T) for line in lines for width in line_widths(line, reach)]
        if widths and np.median(widths) <= reach:
            return np.median(widths) if np.median(widths) <= widest else 0
        reach *= 2
    return 0


def line_widths(line, reach):
    slope = np.nan_to_num(np.abs(np.diff(line, append=np.nan)))
    for x in range(len(line)):
        window = slice(max(0, x - reach), x + reach + 1)
        if slope[x] > 0 and slope[x] == slope[window].max():
            jump = np.nanmax(line[window]) - np.nanmin(line[window])
            if jump >= 0.12:
                yield jump / slope[x]


def square(y, x, radius):
    return slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)


def refine_depth(values, image, metric=False):
    """Refine (H, W) depths of at most 64 rows and columns by an (H, W, C) image of 0..1."""
    values, image = values.astype(np.float64), image.astype(np.float64)
    disparity = disparity_in_range(values, metric)
    width = edge_width(disparity)
    result = values.copy()
    if width < 2:
        return result
    radius = int(np.ceil(width / 2)) + 2
    for y, x in np.argwhere(~np.isnan(values)):
        window, wider = disparity[square(y, x, radius)], disparity[square(y, x, 2 * radius)]
        near, far = np.nanmax(window), np.nanmin(window)
        jump = near - far
        growth = min(np.nanmax(wider) - near, far - np.nanmin(wider))
        if jump >= 0.12 and growth <= 0.25 * jump:
            takes_near = vote(disparity, image, y, x, near, far, radius) > 0
            side = near if takes_near else far
            result[y, x] = values[square(y, x, radius)][window == side][0]
    return result


def vote(disparity, image, y, x, near, far, radius):
    """From -1 (surely far) to 1 (surely near), and as much again from the neighbours."""

    def opinion(y, x):
        return np.clip(2 * (disparity[y, x] - far) / (near - far) - 1, -1, 1)

    votes, weights = 0.0, 2.0
    for dy, dx in VOTERS:
        v, u = y + round(dy * radius), x + round(dx * radius)
        if 0 <= v < len(image) and 0 <= u < image.shape[1] and not np.isnan(disparity[v, u]):
            weight = np.exp(-np.mean((image[v, u] - image[y, x]) ** 2) / (2 * 0.05**2))
            votes += weight * opinion(v, u)
            weights += weight
    return opinion(y, x) + votes / weights
