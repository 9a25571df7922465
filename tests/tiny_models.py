"""ONNX files of a few nodes, whose answer is known."""

from onnx import TensorProto, helper, numpy_helper


def tensor(name, *shape, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, list(shape))


IMAGE = tensor("image", 1, 3, "h", "w")
DEPTH = tensor("depth", 1, 1, "h", "w")


def constant(name, value):
    return numpy_helper.from_array(value, name)


def make_model(nodes, constants=(), *, inputs=(IMAGE,), outputs=(DEPTH,), metadata=None):
    """A serialised network."""
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    return model.SerializeToString()
