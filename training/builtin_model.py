"""Write `src/fastrefocus/depth/builtin.onnx`, the depth model that comes with the package.

The model is not trained: it is an analytic graph, built here node by node with the onnx helper. From one photo
it estimates relative depth (0 nearest, 1 farthest) as the sum of two cues, and lets the sum follow the
picture's edges:

1. Scene prior: lower in the photo is nearer.
2. Background: what has the colours of the photo's upper border is far (after the boundary prior of saliency,
   Wei et al., "Geodesic saliency using background priors", ECCV 2012; here a kernel density ratio in colour).
3. Guided filter (He, Sun and Tang, "Guided image filtering", PAMI 2013) with the colour photo as guide, on a
   quarter of the size (He and Sun, "Fast guided filter", 2015).

Run `python training/builtin_model.py`; the bytes depend only on this file and on the version of onnx.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

#: What onnxruntime 1.18 and later read.
IR_VERSION = 8
OPSET = 17

#: Height and width of the input must be multiples of this (the token grid of the background cue).
MULTIPLE = 16

DESTINATION = Path(__file__).resolve().parents[1] / "src" / "fastrefocus" / "depth" / "builtin.onnx"

# Weight of the second cue; the scene prior has weight 1. The ranks change little within a factor of two of it.
BACKGROUND_WEIGHT = 0.75

# Radii of the box filters, in pixels of the quarter grid.
BACKGROUND_OPENING_RADIUS = 6
BACKGROUND_RADIUS = 4
GUIDE_RADIUS = 12
GUIDE_EPSILON = 3e-3

COLOUR_BANDWIDTH = 0.1


class Graph:
    """Nodes and constants of an ONNX graph in the making; a value is known by its name, a str."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Add a constant and return its name."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def op(self, kind: str, *inputs: str | float, **attributes: Any) -> str:
        """Add a node with one output and return the output's name; numbers become constants."""
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        output = f"v{len(self.nodes)}"
        # onnxruntime 1.18 stumbles over nodes without a name when it merges them.
        self.nodes.append(helper.make_node(kind, names, [output], name=output, **attributes))
        return output

    def channels(self, value: str, *indices: int) -> str:
        """Return the channels `indices` of an NCHW value, in that order."""
        return self.op("Gather", value, self.constant(indices, np.int64), axis=1)

    def window(self, kind: str, value: str, radius: int) -> str:
        """Pool (2 radius + 1)^2 pixels, one axis after the other; beyond the border nothing counts."""
        size = 2 * radius + 1
        extra = {"count_include_pad": 0} if kind == "AveragePool" else {}
        value = self.op(kind, value, kernel_shape=[1, size], pads=[0, radius, 0, radius], **extra)
        return self.op(kind, value, kernel_shape=[size, 1], pads=[radius, 0, radius, 0], **extra)

    def box(self, value: str, radius: int, times: int = 1) -> str:
        """Box filter, `times` times."""
        for _ in range(times):
            value = self.window("AveragePool", value, radius)
        return value

    def shrink(self, value: str, factor: int) -> str:
        """Average `factor` x `factor` pixels to one."""
        return self.op("AveragePool", value, kernel_shape=[factor, factor], strides=[factor, factor])

    def mean(self, value: str) -> str:
        """Mean over all of the value, as [1, 1, 1, 1]."""
        return self.op("ReduceMean", value, keepdims=1)

    def dot(self, a: str, b: str) -> str:
        """Dot product over the channels."""
        return self.op("ReduceSum", self.op("Mul", a, b), self.constant([1], np.int64), keepdims=1)

    def cross(self, a: str, b: str) -> str:
        """Cross product of two values of three channels."""
        left = self.op("Mul", self.channels(a, 1, 2, 0), self.channels(b, 2, 0, 1))
        right = self.op("Mul", self.channels(a, 2, 0, 1), self.channels(b, 1, 2, 0))
        return self.op("Sub", left, right)


def coordinates(g: Graph, like: str) -> tuple[str, str]:
    """Return y and x of the pixel centres as fractions of height and width, [1, 1, H, W], for the size of `like`."""
    plane = g.channels(like, 0)
    ones = g.op("Add", g.op("Mul", plane, 0.0), 1.0)
    result = []
    for axis in (2, 3):
        counts = g.op("CumSum", ones, g.constant(axis, np.int64))
        result.append(g.op("Div", g.op("Sub", counts, 0.5), g.op("ReduceMax", counts, keepdims=1)))
    return result[0], result[1]


def border_map(g: Graph, tokens: str) -> str:
    """Return 1 at the upper border and at the upper half of the side borders, falling to 0 inside."""
    y, x = coordinates(g, tokens)
    top = g.op("Clip", g.op("Sub", 1.0, g.op("Div", y, 0.12)), 0.0, 1.0)
    from_side = g.op("Min", x, g.op("Sub", 1.0, x))
    side = g.op("Clip", g.op("Sub", 1.0, g.op("Div", from_side, 0.08)), 0.0, 1.0)
    upper = g.op("Clip", g.op("Sub", 1.5, g.op("Mul", y, 2.0)), 0.0, 1.0)
    return g.op("Max", top, g.op("Mul", side, upper))


def background_cue(g: Graph, quarter: str) -> str:
    """Return how much each colour belongs to the border, on the quarter grid: 0 object .. 1 background.

    With a Gaussian kernel in colour, softmax(-|q - k|^2 / 2) over the tokens k gives the share of the border
    among the tokens of colour q; d / (1 + d) of its ratio d to the border's share of the photo is in 0..1.
    """
    opponent = np.array([[1 / 6, 1 / 6, 1 / 6], [1, -1, 0], [0.5, 0.5, -1]]) / COLOUR_BANDWIDTH
    colours = g.op("Conv", quarter, g.constant(opponent[:, :, None, None]))
    tokens = g.shrink(colours, MULTIPLE // 4)
    border = border_map(g, tokens)

    rows = g.constant([3, -1], np.int64)
    keys = g.op("Reshape", tokens, rows)
    queries = g.op("Transpose", g.op("Reshape", colours, rows), perm=[1, 0])
    length = g.op("ReduceSum", g.op("Mul", keys, keys), g.constant([0], np.int64), keepdims=1)
    nearness = g.op("Sub", g.op("MatMul", queries, keys), g.op("Mul", length, 0.5))
    values = g.op("Reshape", border, g.constant([-1, 1], np.int64))
    share = g.op("MatMul", g.op("Softmax", nearness, axis=-1), values)
    size = g.op("Shape", g.channels(quarter, 0))
    # Photos of one or two tokens have none at the border: the cue is 0 there.
    ratio = g.op("Div", g.op("Reshape", share, size), g.op("Add", g.mean(border), 1e-6))
    cue = g.op("Div", ratio, g.op("Add", ratio, 1.0))

    # An opening (minimum, then maximum) removes specks of background from within the objects.
    cue = g.op("Neg", g.window("MaxPool", g.op("Neg", cue), BACKGROUND_OPENING_RADIUS))
    cue = g.window("MaxPool", cue, BACKGROUND_OPENING_RADIUS)
    return g.box(cue, BACKGROUND_RADIUS, times=2)


def combine_cues(g: Graph, quarter: str) -> str:
    """Return the weighted sum of the two cues on the quarter grid, [1, 1, H / 4, W / 4]; larger is farther."""
    y, _ = coordinates(g, quarter)
    return g.op("Add", g.op("Sub", 1.0, y), g.op("Mul", background_cue(g, quarter), BACKGROUND_WEIGHT))


def guided_filter(g: Graph, image: str, quarter: str, depth: str) -> str:
    """Return `depth` at the size of `image`, as a locally linear function of the image's colours.

    In each window, depth = a . colour + b by least squares: a = (S + epsilon I)^-1 cov(colour, depth), where S is
    the 3x3 covariance of the colours; solved by Cramer's rule.
    """
    products = [g.op("Mul", quarter, g.channels(quarter, i)) for i in range(3)]
    stack = g.op("Concat", quarter, depth, g.op("Mul", quarter, depth), *products, axis=1)
    means = g.box(stack, GUIDE_RADIUS)
    colour, level = g.channels(means, 0, 1, 2), g.channels(means, 3)
    covariance = g.op("Sub", g.channels(means, 4, 5, 6), g.op("Mul", colour, level))
    rows = []
    for i in range(3):
        row = g.op("Sub", g.channels(means, *range(7 + 3 * i, 10 + 3 * i)), g.op("Mul", colour, g.channels(colour, i)))
        rows.append(g.op("Add", row, g.constant(GUIDE_EPSILON * np.eye(3)[i].reshape(1, 3, 1, 1))))
    cofactors = [g.cross(rows[1], rows[2]), g.cross(rows[2], rows[0]), g.cross(rows[0], rows[1])]
    solution = g.op("Concat", *[g.dot(covariance, cofactor) for cofactor in cofactors], axis=1)
    slope = g.op("Div", solution, g.dot(rows[0], cofactors[0]))
    offset = g.op("Sub", level, g.dot(slope, colour))

    lines = g.box(g.op("Concat", slope, offset, axis=1), GUIDE_RADIUS)
    lines = g.op("Resize", lines, "", g.constant([1, 1, 4, 4]), mode="linear")
    return g.op("Add", g.dot(g.channels(lines, 0, 1, 2), image), g.channels(lines, 3))


def build_model() -> onnx.ModelProto:
    """Return the model: `image` float32 [1, 3, H, W], RGB 0..1 -> `depth` float32 [1, 1, H, W], 0..1."""
    g = Graph()
    image = g.op("Clip", "image", 0.0, 1.0)
    quarter = g.shrink(image, 4)
    depth = guided_filter(g, image, quarter, combine_cues(g, quarter))
    low, high = g.op("ReduceMin", depth, keepdims=1), g.op("ReduceMax", depth, keepdims=1)
    scaled = g.op("Div", g.op("Sub", depth, low), g.op("Add", g.op("Sub", high, low), 1e-6))
    g.nodes[-1].output[0] = scaled = "depth"

    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        g.nodes,
        "builtin",
        [tensor("image", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [tensor(scaled, TensorProto.FLOAT, [1, 1, "height", "width"])],
        g.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name, model.producer_version = "fastrefocus", f"onnx {onnx.__version__}"
    helper.set_model_props(
        model,
        {
            "model": "builtin",
            "input": f"RGB, 0 to 1; height and width multiples of {MULTIPLE}",
            "output": "relative depth, 0 nearest to 1 farthest",
            "licence": "BSD-3-Clause",
        },
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Write the model to the package's source, or to the path given."""
    parser = argparse.ArgumentParser(description="Write the built-in depth model.")
    parser.add_argument("path", nargs="?", type=Path, default=DESTINATION, help="default: %(default)s")
    arguments = parser.parse_args()
    arguments.path.write_bytes(build_model().SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
