"""Write the trained network as ONNX: `python training/export.py FOLDER/network.pt`; see README.md.

Batch normalisation is folded into the convolutions, and their weights are kept as int8 with a scale for each output
channel: int8 -> Cast -> Mul, which onnxruntime folds when it loads the file.
"""

import argparse
import io
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from estimator import MULTIPLE, Estimator
from network import BlurNetwork
from onnx import helper, numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

OPSET, IR_VERSION = 17, 8
DESTINATION = Path(__file__).resolve().parents[1] / "src" / "fastrefocus" / "depth" / "blur.onnx"
SMALLEST_TENSOR = 1024  # numbers; smaller ones stay float32


def main() -> None:
    """Write the file to the package's source, or to the path given."""
    parser = argparse.ArgumentParser(description="Export the blur network.")
    parser.add_argument("network", type=Path)
    parser.add_argument("path", nargs="?", type=Path, default=DESTINATION, help="default: %(default)s")
    arguments = parser.parse_args()
    network = BlurNetwork().eval()
    network.load_state_dict(torch.load(arguments.network))
    fold_normalisation(network)
    arguments.path.write_bytes(export(Estimator(network).eval()).SerializeToString(deterministic=True))


def fold_normalisation(module: nn.Module) -> None:
    """Fold each batch normalisation into the convolution before it."""
    for child in module.children():
        fold_normalisation(child)
    if isinstance(module, nn.Sequential):
        for index, (first, second) in enumerate(zip(module, list(module)[1:], strict=False)):
            if isinstance(second, nn.BatchNorm2d):
                module[index], module[index + 1] = fuse_conv_bn_eval(first, second), nn.Identity()


def export(estimator: Estimator) -> onnx.ModelProto:
    """Return the estimator as an ONNX model with int8 weights."""
    buffer = io.BytesIO()
    axes = {2: "height", 3: "width"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter that writes opset 17
        torch.onnx.export(
            estimator, torch.rand(1, 1, 64, 96), buffer, opset_version=OPSET, dynamo=False, input_names=["photo"],
            output_names=["radius", "confidence"], dynamic_axes=dict.fromkeys(["photo", "radius", "confidence"], axes),
        )  # fmt: skip
    model = onnx.load_from_string(buffer.getvalue())
    model.ir_version = IR_VERSION
    store_as_int8(model.graph)
    make_logarithms_repeatable(model.graph)
    helper.set_model_props(
        model,
        {
            "model": "blur",
            "input": f"grey, encoded, 0 to 1; height and width multiples of {MULTIPLE}",
            "output": "radius of the blur in pixels; confidence 0 to 1",
            "licence": "BSD-3-Clause",
        },
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def store_as_int8(graph: onnx.GraphProto) -> None:
    """Store the weights of convolutions as int8, with a float scale for each output channel."""
    nodes = []
    for tensor in list(graph.initializer):
        weights = numpy_helper.to_array(tensor)
        if weights.ndim != 4 or weights.size < SMALLEST_TENSOR or not tensor.name.startswith("network."):
            continue
        scale = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / 127
        scale = np.maximum(scale, np.finfo(np.float32).tiny).astype(np.float32)
        name = tensor.name
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(np.rint(weights / scale).astype(np.int8), f"{name}.int8"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
        nodes.append(helper.make_node("Cast", [f"{name}.int8"], [f"{name}.float"], to=onnx.TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name]))
    for node in reversed(nodes):
        graph.node.insert(0, node)


def make_logarithms_repeatable(graph: onnx.GraphProto) -> None:
    """Take logarithms number by number, as "sums" over the batch of one.

    onnxruntime's Log works on vectors and on what is left over in two ways, and what is left over depends on the number
    of threads; a last bit would, too.
    """
    for node in graph.node:
        if node.op_type == "Log":
            node.op_type = "ReduceLogSum"
            node.attribute.extend([helper.make_attribute("axes", [0]), helper.make_attribute("keepdims", 1)])


if __name__ == "__main__":
    main()
