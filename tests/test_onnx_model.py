"""Models through onnxruntime: what goes in and comes out, broken and hostile files, sessions."""

import contextlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_models
from onnx import TensorProto, helper, numpy_helper
from skimage import data
from tiny_models import DEPTH, IMAGE, tensor

from fastrefocus import cli
from fastrefocus.depth import blur_estimate
from fastrefocus.depth.estimate import estimate_depth
from fastrefocus.depth.networks import onnx_model, sessions
from fastrefocus.depth.networks.onnx_file import has_external_data
from fastrefocus.errors import ModelError

H, W = 64, 96
PHOTO = np.random.default_rng(11).random((H, W, 3), np.float32)
BUILTIN = files("fastrefocus.depth") / "builtin.onnx"


def channel(index):
    """Nodes and constants that give one channel of the photo as depth."""
    indices = numpy_helper.from_array(np.array([index], np.int64), "index")
    return [helper.make_node("Gather", ["image", "index"], ["depth"], axis=1)], [indices]


def make_model(nodes=None, constants=(), **options):
    """A serialised network; without nodes it gives the red channel as depth."""
    if nodes is None:
        nodes, constants = channel(0)
    return tiny_models.make_model(nodes, constants, **options)


def plain(path):
    return f"plain:{path}"


@pytest.fixture
def save(tmp_path):
    def write(content, name="model.onnx"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def scaled(plane):
    return (plane - plane.min()) / np.ptp(plane)


# --- what goes in


def test_a_plain_file_gives_relative_depth(save):
    depth = estimate_depth(PHOTO, model=plain(save(make_model())))
    assert depth.kind == "relative"
    np.testing.assert_allclose(depth.values, scaled(PHOTO[..., 0]), atol=1e-6)


def test_a_large_photo(save):
    ramp = np.linspace(0, 1, 900, dtype=np.float32)[None, :, None] * np.ones((500, 1, 3), np.float32)
    np.testing.assert_allclose(estimate_depth(ramp, model=plain(save(make_model()))).values, ramp[..., 0], atol=2e-3)


def test_an_output_without_channel_axis(save):
    nodes = [helper.make_node("ReduceMax", ["image"], ["depth"], axes=[1], keepdims=0)]
    depth = estimate_depth(PHOTO, model=plain(save(make_model(nodes, outputs=[tensor("depth", 1, "h", "w")]))))
    np.testing.assert_allclose(depth.values, scaled(PHOTO.max(axis=2)), atol=1e-6)


def test_the_metadata_name_a_card(save):
    assert estimate_depth(PHOTO, model=save(make_model(metadata={"model": " FastDepth-NYU"}))).kind == "metric"


def test_other_colons_belong_to_the_path(save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fastdepth:").mkdir()
    content = make_model(metadata={"model": "plain"})
    save(content, "c:model.onnx")
    save(content, "fastdepth:/model.onnx")
    assert estimate_depth(PHOTO, model="c:model.onnx").kind == "relative"
    assert estimate_depth(PHOTO, model=Path("fastdepth:/model.onnx")).kind == "relative"  # not a str


def test_a_file_that_changes_is_read_again(save):
    path = save(make_model(*channel(0)))
    first = estimate_depth(PHOTO, model=plain(path)).values
    save(make_model(*channel(1)))
    os.utime(path, ns=(1, 1))
    assert not np.array_equal(estimate_depth(PHOTO, model=plain(path)).values, first)


def test_a_file_that_takes_the_place_of_one_of_the_same_age_is_read(save):
    path, other = save(make_model(*channel(0))), save(make_model(*channel(1)), "other.onnx")
    os.utime(path, ns=(1, 1))
    os.utime(other, ns=(1, 1))
    first = estimate_depth(PHOTO, model=plain(path)).values
    os.replace(other, path)
    assert not np.array_equal(estimate_depth(PHOTO, model=plain(path)).values, first)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (1, 1, 3), (3, 1, 3), (17, 33)])
def test_any_size(shape):
    depth = estimate_depth(np.random.default_rng(2).random(shape))
    assert depth.values.shape == shape[:2]
    assert not np.isnan(depth.values).any()


def test_photos_of_any_type():
    grey = (PHOTO[..., 0] * 255).astype(np.uint8)
    expected = estimate_depth(np.dstack([grey] * 3)).values
    np.testing.assert_array_equal(estimate_depth(grey).values, expected)
    np.testing.assert_array_equal(estimate_depth(grey.astype(np.uint16) * 257).values, expected)
    np.testing.assert_array_equal(estimate_depth(np.asfortranarray(grey)).values, expected)


def test_values_outside_0_to_1_are_clipped(save):
    model = plain(save(make_model()))
    extreme = PHOTO * 16.5 - 0.5
    expected = estimate_depth(np.clip(extreme, 0, 1), model=model).values
    np.testing.assert_array_equal(estimate_depth(extreme, model=model).values, expected)


# --- hostile and broken files


def failing_at_run_time():
    """A Reshape to five pixels, which no photo has."""
    shape = numpy_helper.from_array(np.array([1, 1, 1, 5], np.int64), "shape")
    return make_model([helper.make_node("Reshape", ["image", "shape"], ["depth"])], [shape])


def divided_by(number, plus=0):
    constants = [tiny_models.constant("number", np.float32(number)), tiny_models.constant("more", np.float32(plus))]
    nodes, indices = channel(0)
    nodes[0].output[0] = "red"
    nodes += [
        helper.make_node("Div", ["red", "number"], ["ratio"]),
        helper.make_node("Add", ["ratio", "more"], ["depth"]),
    ]
    return make_model(nodes, [*indices, *constants])


def reduced():
    return [helper.make_node("ReduceMean", ["image"], ["depth"], keepdims=0)], ()


def half_size():
    return [
        helper.make_node("ReduceMean", ["image"], ["grey"], axes=[1]),
        helper.make_node("AveragePool", ["grey"], ["depth"], kernel_shape=[2, 2], strides=[2, 2]),
    ], ()


def turned():
    return [
        helper.make_node("ReduceMean", ["image"], ["grey"], axes=[1]),
        helper.make_node("Transpose", ["grey"], ["depth"], perm=[0, 1, 3, 2]),
    ], ()


def integers():
    return [
        helper.make_node("ReduceMean", ["image"], ["grey"], axes=[1]),
        helper.make_node("Cast", ["grey"], ["depth"], to=INT64),
    ], ()


def with_external_data(location, place="graph"):
    """The depth is a map of 4x4 pixels that lies in another file."""
    outside = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[1, 1, 4, 4], data_location=1)
    outside.external_data.add(key="location", value=location)
    nodes, constants = channel(0)
    nodes[0].output[0] = "red"
    if place == "graph":
        constants = [*constants, outside]
    else:
        node = helper.make_node("Constant", [], ["outside"])
        node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(outside)
        nodes.append(node if place == "Constant" else in_a_branch(node))
        constants = [*constants, tiny_models.constant("yes", np.array(True))]
    nodes.append(helper.make_node("Max", ["red", "outside"], ["depth"]))
    return make_model(nodes, constants, inputs=[tensor("image", 1, 3, 4, 4)])


def in_a_branch(node):
    result = [tensor("outside", 1, 1, 4, 4)]
    other = helper.make_node("Identity", ["red"], ["outside"])
    branches = helper.make_graph([node], "then", [], result), helper.make_graph([other], "else", [], result)
    return helper.make_node("If", ["yes"], ["outside"], then_branch=branches[0], else_branch=branches[1])


INT64 = TensorProto.INT64
TWO_INPUTS = [IMAGE, tensor("focal", 1)]
TWO_OUTPUTS = [DEPTH, tensor("red", 1, 1, "h", "w")]
HALF = [tensor("image", 1, 3, "h", "w", dtype=TensorProto.FLOAT16)]
DOUBLE = [tensor("image", 1, 3, "h", "w", dtype=TensorProto.DOUBLE)]
INTEGER = [tensor("image", 1, 3, "h", "w", dtype=TensorProto.UINT8)]
IDENTITY = [helper.make_node("Identity", ["image"], ["depth"])]


def red_too():
    return [helper.make_node("Gather", ["image", "index"], ["red"], axis=1)]


def typed(inputs):
    kind = inputs[0].type.tensor_type.elem_type
    return make_model(IDENTITY, inputs=inputs, outputs=[tensor("depth", 1, 3, "h", "w", dtype=kind)])


BROKEN = {
    "empty": (b"", "is empty"),
    "text": (b"hello, this is no model\n" * 50, "not an ONNX model"),
    "truncated": (make_model()[:150], "not an ONNX model"),
    "a PNG": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not an ONNX model"),
    "unknown operator": (make_model([helper.make_node("Nonsense", ["image"], ["depth"])]), "not an ONNX model"),
    "rank 3": (make_model(inputs=[tensor("image", 3, "h", "w")]), r"input must be .*\[3, 'h', 'w'\]"),
    "four channels": (make_model(inputs=[tensor("image", 1, 4, "h", "w")]), r"input must be .*\[1, 4, 'h', 'w'\]"),
    "channels last": (make_model(inputs=[tensor("image", 1, "h", "w", 3)]), r"input must be .*\[1, 'h', 'w', 3\]"),
    "batch of 2": (make_model(inputs=[tensor("image", 2, 3, "h", "w")]), r"input must be .*\[2, 3, 'h', 'w'\]"),
    "float16": (typed(HALF), r"input must be one float32 .*tensor\(float16\)"),
    "float64": (typed(DOUBLE), r"input must be one float32 .*tensor\(double\)"),
    "uint8": (typed(INTEGER), r"input must be one float32 .*tensor\(uint8\)"),
    "unknown channels": (make_model(inputs=[tensor("image", "n", "c", "h", "w")]), r"input must be .*'c'"),
    "two inputs": (make_model(inputs=TWO_INPUTS), "input must be .*'image'.*'focal'"),
    "two outputs": (make_model([*channel(0)[0], *red_too()], channel(0)[1], outputs=TWO_OUTPUTS), "'depth'.*'red'"),
    "huge input": (make_model(inputs=[tensor("image", 1, 3, 1 << 20, 1 << 20)]), "1 to 4096"),
    "three channels out": (make_model(IDENTITY, outputs=[tensor("depth", 1, 3, "h", "w")]), r"shape \(1, 3, 64, 96\)"),
    "fails": (failing_at_run_time(), r"failed on an input of shape \(1, 3, 64, 96\)"),
    "scalar": (make_model(*reduced(), outputs=[tensor("depth")]), r"shape \(\)"),
    "half size": (make_model(*half_size()), r"shape \(1, 1, 32, 48\)"),
    "as many pixels, another shape": (make_model(*turned()), r"shape \(1, 1, 96, 64\)"),
    "constant": (divided_by(np.inf), "same depth everywhere"),
    "nearly constant": (divided_by(1e7, plus=1), "same depth everywhere"),
    "infinite": (divided_by(0), "NaN or infinity at 6144 of 6144"),
    "NaN": (divided_by(np.nan), "NaN or infinity at 6144 of 6144"),
    "integer output": (
        make_model(*integers(), outputs=[tensor("depth", 1, 1, "h", "w", dtype=INT64)]),
        r"output.*int64",
    ),
    "external data that is not there": (with_external_data("none.bin"), "not an ONNX model that"),
    "data at an address in memory": (with_external_data("*/_ORT_MEM_ADDR_/*"), "address in memory"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(save, capfd, name):
    content, message = BROKEN[name]
    path = save(content)
    with pytest.raises(ModelError, match=message) as caught:
        estimate_depth(PHOTO, model=plain(path))
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 700
    assert capfd.readouterr() == ("", "")


GREEDY = """
import pathlib, sys
import numpy as np
from fastrefocus.depth.networks import sessions
from fastrefocus.depth.estimate import estimate_depth
from fastrefocus.errors import ModelError

sessions.memory_limit = lambda: 2**28
photo = np.random.default_rng(0).random((64, 96, 3), np.float32)
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    try:
        estimate_depth(photo, model=f"plain:{path}", threads=1)
    except ModelError as error:
        status = pathlib.Path("/proc/self/status").read_text()
        peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        print(path.stem, "memory" in str(error), int(peak) // 1024)
"""


def greedy(node, *constants):
    """A network that makes a gigabyte of one of its constants or of its input, and uses it."""
    nodes, indices = channel(0)
    nodes[0].output[0] = "red"
    nodes += [
        node,
        helper.make_node("ReduceMax", ["big"], ["most"], keepdims=0),
        helper.make_node("Max", ["red", "most"], ["depth"]),
    ]
    return make_model(nodes, [*indices, *constants])


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_a_model_gets_a_part_of_the_memory(save, tmp_path):
    """In a process of its own, as all models share the allocator, and to see its memory."""
    number = tiny_models.constant("number", np.array([2**28], np.int64))
    one = tiny_models.constant("one", np.ones(1, np.float32))
    scales = tiny_models.constant("scales", np.float32([1, 1, 200, 200]))
    column, row = np.ones((2**14, 1), np.float32), np.ones((1, 2**14), np.float32)
    save(greedy(helper.make_node("ConstantOfShape", ["number"], ["big"]), number), "constant.onnx")
    save(greedy(helper.make_node("Expand", ["one", "number"], ["big"]), one, number), "expand.onnx")
    save(greedy(helper.make_node("Tile", ["one", "number"], ["big"]), one, number), "tile.onnx")
    save(greedy(helper.make_node("RandomNormal", [], ["big"], shape=[2**28])), "random.onnx")
    save(greedy(helper.make_node("Resize", ["image", "", "scales"], ["big"], mode="nearest"), scales), "resize.onnx")
    product = helper.make_node("MatMul", ["column", "row"], ["big"])
    factors = tiny_models.constant("column", column), tiny_models.constant("row", row)
    save(greedy(product, *factors), "product.onnx")
    enlarged = [helper.make_node("Resize", ["image", "", "scales"], ["depth"], mode="nearest")]
    save(make_model(enlarged, [scales]), "output.onnx")
    done = subprocess.run(
        [sys.executable, "-c", GREEDY, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["constant", "expand", "output", "product", "random", "resize", "tile"]
    assert all(line[1] == "True" for line in lines), done.stdout
    assert all(int(line[2]) < 700 for line in lines), done.stdout  # MB; a gigabyte more without a limit


def test_the_limit_of_memory():
    assert 2**28 < sessions.memory_limit() <= 2**34


def test_a_file_that_is_too_large(tmp_path):
    path = tmp_path / "large.onnx"
    with path.open("wb") as stream:
        stream.truncate(2**31)  # sparse
    with pytest.raises(ModelError, match="larger than an ONNX file can be"):
        estimate_depth(PHOTO, model=plain(path))


def test_damaged_files_do_no_harm(save, capfd):
    """Some load all the same; none may bring the process down, raise another error or print."""
    whole, random = np.frombuffer(BUILTIN.read_bytes(), np.uint8), np.random.default_rng(8)
    for _ in range(60):
        damaged = whole.copy()
        damaged[random.integers(len(damaged), size=4)] = random.integers(256, size=4)
        with contextlib.suppress(ModelError):
            estimate_depth(PHOTO, model=plain(save(damaged.tobytes())), threads=1)
    assert capfd.readouterr() == ("", "")


MAP = np.linspace(2, 5, 16, dtype=np.float32).reshape(4, 4)  # above what any photo gives


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A model's folder, with weights in it, and weights above and elsewhere that would fit; the latter is worked in."""
    for name in ("model", "model/deeper", "elsewhere"):
        (tmp_path / name).mkdir()
    for name in ("above.bin", "model/inside.bin", "model/deeper/inside.bin", "elsewhere/only_here.bin"):
        (tmp_path / name).write_bytes(MAP.tobytes())
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


@pytest.mark.parametrize("place", ["graph", "Constant", "If"])
@pytest.mark.parametrize("location", ["inside.bin", "./inside.bin", "deeper/inside.bin"])
def test_weights_in_other_files_of_the_folder(folders, place, location):
    path = folders / "model" / "model.onnx"
    path.write_bytes(with_external_data(location, place))
    depth = estimate_depth(np.random.default_rng(1).random((4, 4)), model=plain(path)).values
    np.testing.assert_allclose(depth, scaled(MAP), atol=1e-6)


@pytest.mark.parametrize("place", ["graph", "Constant", "If"])
@pytest.mark.parametrize(
    "location",
    ["only_here.bin", "../above.bin", "deeper/../../above.bin", "{root}/above.bin", "link.bin", "linked/only_here.bin"],
)
def test_no_file_is_read_outside_the_models_folder(folders, place, location):
    (folders / "model" / "link.bin").symlink_to(folders / "above.bin")
    (folders / "model" / "linked").symlink_to(folders / "elsewhere")
    path = folders / "model" / "model.onnx"
    path.write_bytes(with_external_data(location.format(root=folders), place))
    with pytest.raises(ModelError, match="onnxruntime can run"):
        estimate_depth(np.random.default_rng(1).random((4, 4)), model=plain(path))


def test_the_cache_of_hugging_face_needs_copies(folders):
    """It has links with the files' names to files with other names."""
    (folders / "elsewhere" / "0a1b").write_bytes(with_external_data("inside.bin"))
    path = folders / "model" / "linked.onnx"
    path.symlink_to(folders / "elsewhere" / "0a1b")
    with pytest.raises(ModelError, match=r"copy both into one folder, under their own names.*Hugging Face"):
        estimate_depth(np.random.default_rng(1).random((4, 4)), model=plain(path))


def test_weights_are_sought_in_the_folder_alone_however_they_are_named(folders):
    """The key's length written with superfluous bytes; lengths around it are right."""
    content = with_external_data("only_here.bin")
    at = content.index(b"\x08location")
    for length in (b"\x88\x00", b"\x88\x80\x00"):
        hidden = content[:at] + length + content[at + 1 :]
        assert has_external_data(hidden)


@pytest.mark.parametrize("name", [b"depth", b"image", b"wide", b"note", b"entry"])
def test_bytes_that_are_no_text(save, name):
    content = make_model(inputs=[tensor("image", 1, 3, "h", "wide")], metadata={"note": "entry"})
    assert name in content
    path = save(content.replace(name, b"\xff" + name[1:]))
    with pytest.raises(ModelError, match="not a text in UTF-8") as caught:
        estimate_depth(PHOTO, model=plain(path))
    assert str(path) in str(caught.value)


def test_a_link_to_itself(tmp_path, capfd):
    path = tmp_path / "model.onnx"
    path.symlink_to(path)
    for model in (path, plain(path)):
        with pytest.raises(ModelError, match=r"cannot be read: .*links"):
            estimate_depth(PHOTO, model=model)
    assert cli.main(["depth", "sample:camera", str(tmp_path / "out.png"), "--model", str(path)]) == 1
    assert capfd.readouterr().err.count("\n") == 1


def test_not_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model file not found: .*none\.onnx.*CARD:PATH"):
        estimate_depth(PHOTO, model=tmp_path / "none.onnx")
    with pytest.raises(FileNotFoundError, match="'zoe' is no card: there are builtin, plain"):
        estimate_depth(PHOTO, model="zoe:none.onnx")
    for name in ("c:none.onnx", "./zoe:none.onnx"):  # a drive, a folder
        with pytest.raises(FileNotFoundError, match="model file not found"):
            estimate_depth(PHOTO, model=name)
    with pytest.raises(ModelError, match="directory"):
        estimate_depth(PHOTO, model=tmp_path)
    with pytest.raises(ModelError, match="special file"):
        estimate_depth(PHOTO, model=os.devnull)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": 3}, TypeError, "model must be a str or a path, got int"),
        ({"model": None}, TypeError, "model must be a str or a path, got NoneType"),
        ({"model": ""}, ValueError, "model must be 'builtin', a path, or CARD:PATH, got ''"),
        ({"model": "fastdepth"}, ValueError, "got 'fastdepth'"),
        ({"model": "fastdepth:"}, ValueError, "got 'fastdepth:'"),
        ({"threads": 0}, ValueError, "threads must be"),
        ({"threads": 1.5}, TypeError, "threads must be"),
        ({"threads": 2**40}, ValueError, "threads must be <= 1024"),
        ({"image": PHOTO * 255}, ValueError, "image.* must hold values of 0..1"),
        ({"image": PHOTO[..., :2]}, ValueError, "image must have shape"),
        ({"image": PHOTO > 0.5}, TypeError, "image must"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        estimate_depth(**{"image": PHOTO} | arguments)


# --- sessions


@pytest.fixture(scope="module")
def coffee():
    return data.coffee()


def test_same_bits_at_any_number_of_threads(coffee):
    noise = np.random.default_rng(3).random((170, 400, 3), np.float32)
    for photo in (coffee, coffee[:257, :257], coffee[:170, :400], noise):
        for accuracy in ("fast", "high"):
            expected = estimate_depth(photo, accuracy=accuracy, threads=1).values
            for threads in (2, 3, 8, 12, None):
                found = estimate_depth(photo, accuracy=accuracy, threads=threads).values
                np.testing.assert_array_equal(found, expected)


ENDLESS = """
import os, signal, sys, threading
import numpy as np
from fastrefocus.depth import blur_estimate
from fastrefocus.depth.estimate import estimate_depth
from fastrefocus.depth.networks.sessions import open_session

if sys.argv[1] == "depth":
    work = lambda: estimate_depth(np.random.rand(40, 40), model=f"plain:{sys.argv[2]}")
else:
    blur_estimate._session = lambda threads: open_session(sys.argv[2], threads, trusted=True)
    work = lambda: blur_estimate.estimate_blur(np.random.rand(40, 40))
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    work()
except KeyboardInterrupt:
    print("interrupted", threading.active_count())
"""


def endless(source, shape, outputs):
    """A network that adds 1 to its input 2^62 times, while the sum is what it gives."""
    state, go_on = (
        tensor("sum", *shape),
        [helper.make_tensor_value_info(f"go_on{i}", TensorProto.BOOL, []) for i in "12"],
    )
    nodes = [helper.make_node("Identity", ["go_on1"], ["go_on2"]), helper.make_node("Add", ["sum", "one"], ["more"])]
    count = helper.make_tensor_value_info("count", TensorProto.INT64, [])
    body = helper.make_graph(nodes, "body", [count, go_on[0], state], [go_on[1], tensor("more", *shape)])
    constants = [
        tiny_models.constant("times", np.array(2**62, np.int64)),
        tiny_models.constant("yes", np.array(True)),
        tiny_models.constant("one", np.float32(1)),
    ]
    loop = helper.make_node("Loop", ["times", "yes", source.name], [outputs[0]], body=body)
    copies = [helper.make_node("Identity", [outputs[0]], [name]) for name in outputs[1:]]
    ends = [tensor(name, *shape) for name in outputs]
    return make_model([loop, *copies], constants, inputs=[source], outputs=ends)


@pytest.mark.skipif(os.name != "posix", reason="signals to oneself")
@pytest.mark.parametrize("what", ["depth", "blur"])
def test_ctrl_c_ends_a_network_that_never_ends(save, what):
    if what == "depth":
        path = save(endless(IMAGE, (1, 3, "h", "w"), ["depth"]))
    else:
        path = save(endless(tensor("photo", 1, 1, "h", "w"), (1, 1, "h", "w"), ["radius", "confidence"]))
    command = [sys.executable, "-c", ENDLESS, what, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert (done.stdout, done.stderr) == ("interrupted 1\n", "")


def test_the_threads_reach_the_session(save):
    path = save(make_model())
    for trusted in (False, True):
        options = onnx_model.load_model(path, 3, trusted=trusted).session.get_session_options()
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)


def test_several_python_threads_at_once(save, coffee, monkeypatch):
    """The first calls, too: each network is loaded once."""
    onnx_model._load_model.cache_clear()
    blur_estimate._session.cache_clear()
    opened, session = [], onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *a, **k: [opened.append(a), session(*a, **k)][1])
    models = ["builtin", plain(save(make_model()))]
    jobs = [(model, np.roll(coffee, 40 * i, axis=1)) for i in range(4) for model in models]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda job: estimate_depth(job[1], model=job[0], threads=2).values, jobs))
    assert len(opened) == len(models) + 1  # that of the blur, too
    for (model, photo), depth in zip(jobs, found, strict=True):
        np.testing.assert_array_equal(estimate_depth(photo, model=model, threads=2).values, depth)


def test_the_session_is_kept():
    first = onnx_model.load_model(Path(BUILTIN), 1)
    assert onnx_model.load_model(Path(BUILTIN), 1) is first
    assert onnx_model.load_model(Path(BUILTIN), 2) is not first
