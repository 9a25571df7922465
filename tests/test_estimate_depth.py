"""What each family of networks is shown, and how its answer is read, with networks whose right answer is known."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import tiny_models
from onnx import helper
from PIL import Image
from skimage.transform import resize
from tiny_models import constant, tensor

import fastrefocus as fr
from fastrefocus import cli
from fastrefocus.depth.networks.card import ModelCard
from fastrefocus.depth.networks.model_cards import CARDS, card_of_metadata
from fastrefocus.depth.networks.network_input import make_input
from fastrefocus.errors import ModelError

H, W = 64, 96
PHOTO = np.random.default_rng(11).random((H, W, 3), np.float32)
WEIGHTS = np.float32([0.1, 0.3, 0.6])  # of the three channels: tells them apart
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NONE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
FOCAL_PX = 80.0


def network(*, scale=1.0, exponential=True, outputs=None, inputs=None, metadata=None, views=False, more=()):
    """exp(weighted sum of the channels), or the sum itself plus 1/2; it is positive."""
    kernel = constant("kernel", (WEIGHTS * np.float32(scale)).reshape(1, 3, 1, 1))
    nodes = [helper.make_node("Conv", ["image", "kernel"], ["sum"])]
    constants = [kernel, constant("half", np.float32(0.5))]
    if views:
        nodes = [helper.make_node("Squeeze", ["image", "zero"], ["single"]), *nodes]
        nodes[1].input[0] = "single"
        constants.append(constant("zero", np.array([0], np.int64)))
    last = ["sum"] if exponential else ["sum", "half"]
    nodes += [helper.make_node("Exp" if exponential else "Add", last, ["depth"]), *more]
    keywords = {"inputs": inputs} if inputs else {}
    return tiny_models.make_model(
        nodes, constants, outputs=outputs or [tiny_models.DEPTH], metadata=metadata, **keywords
    )


@pytest.fixture
def save(tmp_path):
    def write(content, name="model.onnx"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def resized(array, size):
    return resize(array, size, order=1, mode="edge", anti_aliasing=True)


def seen_sum(size, mean, std):
    """The weighted sum of the normalised channels at the size that the network sees."""
    return ((resized(PHOTO, size) - np.float32(mean)) / np.float32(std)) @ WEIGHTS


def scaled(plane):
    return (plane - plane.min()) / np.ptp(plane)


# --- one test for each convention


@pytest.mark.parametrize(
    ("card", "kind", "size", "normalisation"),
    [
        ("plain", "relative", (64, 96), NONE),
        ("midas-small", "inverse", (160, 256), IMAGENET),  # the longer side 256, multiples of 32
        ("dpt", "inverse", (384, 576), HALF),  # the shorter side 384, multiples of 32
        ("depth-anything-v2", "inverse", (518, 784), IMAGENET),  # the shorter side 518, multiples of 14
        ("depth-anything-v2-metric", "metric", (518, 784), IMAGENET),
        ("depth-anything-3", "inverse", (336, 504), IMAGENET),  # the longer side 504, multiples of 14
        ("fastdepth", "metric", (224, 224), NONE),
        ("lite-mono", "inverse", (192, 640), NONE),
    ],
)
def test_the_families(save, card, kind, size, normalisation):
    depth = fr.estimate_depth(PHOTO, model=f"{card}:{save(network())}")
    answer = np.exp(seen_sum(size, *normalisation))
    if card == "depth-anything-3":  # a distance up to a factor
        answer = 1 / answer
    expected = resized(answer, (H, W))
    assert depth.kind == kind
    np.testing.assert_allclose(depth.values, scaled(expected) if kind == "relative" else expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("card", "photo", "seen"),
    [
        ("builtin", (3000, 4000), (384, 512)),
        ("builtin", (100, 90), (96, 96)),  # never enlarged
        ("plain", (500, 900), (224, 384)),
        ("plain", (1, 1), (32, 32)),
        ("plain", (1, 100_000), (32, 384)),
        ("midas-small", (4000, 3000), (256, 192)),
        ("midas-small", (60, 80), (192, 256)),
        ("depth-anything-v2", (3000, 4000), (518, 686)),
        ("depth-anything-v2", (1, 100_000), (518, 2072)),  # a panorama is squeezed
        ("depth-anything-3", (2000, 3000), (336, 504)),
        ("depth-pro", (2000, 3000), (1536, 1536)),
    ],
)
def test_the_size_that_the_network_sees(card, photo, seen):
    assert CARDS[card].input_size(*photo) == seen


def test_the_cards_names():
    for name, card in CARDS.items():
        assert name == card.name == name.lower()
        assert card_of_metadata(name.upper()) is card
    assert card_of_metadata("") is None


def test_metric3d(save):
    """White is 255, the photo keeps its proportions, and metres grow with the focal length of what is seen."""
    path = save(network(scale=1 / 255, exponential=False))
    depth = fr.estimate_depth(PHOTO, model=f"metric3d-v2:{path}", focal_px=FOCAL_PX)
    scale = 616 / H  # into 616 x 1064
    answer = (seen_sum((616, 924), *NONE) + 0.5) * FOCAL_PX * scale / 1000
    assert depth.kind == "metric"
    np.testing.assert_allclose(depth.values, resized(answer, (H, W)), rtol=1e-4)


def test_depth_pro(save):
    depth = fr.estimate_depth(PHOTO, model=f"depth-pro:{save(network())}", focal_px=FOCAL_PX)
    inverse = resized(np.exp(seen_sum((1536, 1536), *HALF)), (H, W)) * W / FOCAL_PX
    assert depth.kind == "metric"
    np.testing.assert_allclose(depth.values, 1 / inverse, rtol=1e-4)


def test_larger_is_nearer_in_inverse_depth_only(save):
    path = save(network())
    bright = PHOTO @ WEIGHTS
    for card in CARDS:
        if card in ("builtin", "metric3d-v2"):  # its white is 255
            continue
        relative = fr.estimate_depth(PHOTO, model=f"{card}:{path}", focal_px=FOCAL_PX).relative().values
        correlation = np.corrcoef(relative.ravel(), bright.ravel())[0, 1]
        farther = card in ("plain", "depth-anything-v2-metric", "depth-anything-3", "fastdepth")
        assert correlation * (1 if farther else -1) > 0.5, card


def test_depth_anything_3_with_an_axis_of_views(save):
    content = network(inputs=[tensor("image", 1, 1, 3, "h", "w")], views=True)
    expected = fr.estimate_depth(PHOTO, model=f"depth-anything-3:{save(network())}").values
    found = fr.estimate_depth(PHOTO, model=f"depth-anything-3:{save(content, 'views.onnx')}").values
    np.testing.assert_array_equal(found, expected)


def test_the_right_output_of_several(save):
    more = [
        helper.make_node("Neg", ["sum"], ["confidence"]),
        helper.make_node("Identity", ["depth"], ["predicted_depth"]),
    ]
    outputs = [tensor("confidence", 1, 1, "h", "w"), tensor("predicted_depth", 1, 1, "h", "w")]
    path = save(network(outputs=outputs, more=more))
    expected = fr.estimate_depth(PHOTO, model=f"depth-anything-v2:{save(network(), 'one.onnx')}").values
    np.testing.assert_array_equal(fr.estimate_depth(PHOTO, model=f"depth-anything-v2:{path}").values, expected)
    with pytest.raises(ModelError, match=r"'confidence'.*'predicted_depth'.*output_names"):
        fr.estimate_depth(PHOTO, model=f"plain:{path}")


def test_an_export_of_depth_pro_that_gives_metres_is_not_misread(save):
    more = [helper.make_node("ReduceMean", ["sum"], ["focallength_px"], keepdims=0)]
    path = save(network(outputs=[tiny_models.DEPTH, tensor("focallength_px")], more=more))
    with pytest.raises(ModelError, match=r"'focallength_px'.*\"output\": \"metric\""):
        fr.estimate_depth(PHOTO, model=f"depth-pro:{path}", focal_px=FOCAL_PX)
    save(b'{"card": "depth-pro", "output": "metric", "output_names": ["depth"], "refuse": 0}', "model.onnx.json")
    with pytest.raises(ModelError, match="unknown entries refuse"):
        fr.estimate_depth(PHOTO, model=path)
    save(b'{"card": "depth-pro", "output": "metric", "output_names": ["depth"]}', "model.onnx.json")
    depth = fr.estimate_depth(PHOTO, model=path)
    np.testing.assert_allclose(depth.values, resized(np.exp(seen_sum((1536, 1536), *HALF)), (H, W)), rtol=1e-4)


def test_the_files_own_size_is_kept(save):
    content = network(inputs=[tensor("image", 1, 3, 16, 48)], outputs=[tensor("depth", 1, 1, 16, 48)])
    depth = fr.estimate_depth(PHOTO, model=f"midas-small:{save(content)}")
    np.testing.assert_allclose(depth.values, resized(np.exp(seen_sum((16, 48), *IMAGENET)), (H, W)), rtol=1e-4)


def test_padding_goes_into_the_files_own_size_too(save):
    content = network(scale=1 / 255, exponential=False, inputs=[tensor("image", 1, 3, 100, 120)])
    depth = fr.estimate_depth(PHOTO, model=f"metric3d-v2:{save(content)}", focal_px=FOCAL_PX)
    answer = (seen_sum((80, 120), *NONE) + 0.5) * FOCAL_PX * (120 / W) / 1000
    np.testing.assert_allclose(depth.values, resized(answer, (H, W)), rtol=1e-4)


def test_the_photo_is_in_the_middle_of_padding_of_the_mean_colour():
    mean, std = np.float32([0.1, 0.2, 0.3]), np.float32([0.5, 0.4, 0.2])
    card = ModelCard(name="mine", output="inverse", mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.2), fit="pad", size=(4, 8))
    photo = np.ones((40, 40, 3), np.float32)
    seen = make_input(photo, card, None, None)
    assert (seen.rows, seen.columns) == (np.s_[0:4], np.s_[2:6])
    np.testing.assert_allclose(seen.pixels[:, 2:6], np.broadcast_to((1 - mean) / std, (4, 4, 3)), rtol=1e-6)
    np.testing.assert_array_equal(seen.pixels[:, [0, 1, 6, 7]], 0)
    inside = make_input(photo, replace(card, normalised_inside=True, white=255.0), None, None).pixels
    np.testing.assert_allclose(inside[:, 0], np.broadcast_to(255 * mean, (4, 3)), rtol=1e-6)


def test_distances_are_positive(save):
    content = tiny_models.make_model(
        [helper.make_node("ReduceMean", ["image"], ["depth"], axes=[1])],
    )
    with pytest.raises(ModelError, match=r"model\.onnx: the output holds -.*distance"):
        fr.estimate_depth(PHOTO, model=f"depth-anything-3:{save(content)}")


@pytest.mark.parametrize("card", [name for name in CARDS if name != "builtin"])
@pytest.mark.parametrize(("low", "high"), [(-3e38, 3e38), (1e-45, 2e-45), (0, 3e38), (-2, -1)])
def test_extreme_answers(save, card, low, high):
    """A valid depth map, or a ModelError; neither warnings nor another error."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["grey"], axes=[1]),
        helper.make_node("Less", ["grey", "middle"], ["dark"]),
        helper.make_node("Where", ["dark", "low", "high"], ["depth"]),
    ]
    numbers = {
        "low": low,
        "high": high,
        "middle": {"metric3d-v2": 127, "plain": 0.5, "fastdepth": 0.5, "lite-mono": 0.5}.get(card, 0),
    }
    content = tiny_models.make_model(nodes, [constant(name, np.float32(value)) for name, value in numbers.items()])
    photo = (PHOTO > 0.5).astype(np.float32)
    for accuracy in ("fast", "high"):
        try:
            depth = fr.estimate_depth(photo, model=f"{card}:{save(content)}", focal_px=FOCAL_PX, accuracy=accuracy)
        except ModelError:
            continue
        assert np.isfinite(depth.values).all()


# --- the focal length


def photo_with(tags):
    block = Image.Exif()
    block.get_ifd(0x8769).update(tags)
    return fr.Photo(PHOTO, exif=block.tobytes().removeprefix(b"Exif\0\0"))


@pytest.mark.parametrize("card", ["metric3d-v2", "depth-pro"])
def test_the_focal_length_is_asked_for(save, card):
    model = f"{card}:{save(network(scale=1e-3))}"
    for image in (PHOTO, fr.Photo(PHOTO), photo_with({33437: 2.8})):
        with pytest.raises(ValueError, match=f"^focal_px must be given: {card}"):
            fr.estimate_depth(image, model=model)


def test_the_focal_length_by_exif(save):
    """50 mm on film of 36 x 24 mm, whose diagonal is 43.3 mm."""
    model = f"metric3d-v2:{save(network(scale=1e-3))}"
    photo = photo_with({41989: 50})
    expected = fr.estimate_depth(PHOTO, model=model, focal_px=50 / math.hypot(36, 24) * math.hypot(H, W)).values
    np.testing.assert_allclose(fr.estimate_depth(photo, model=model).values, expected, rtol=1e-6)
    given = fr.estimate_depth(photo, model=model, focal_px=FOCAL_PX).values
    np.testing.assert_array_equal(given, fr.estimate_depth(PHOTO, model=model, focal_px=FOCAL_PX).values)


def test_the_focal_length_on_the_command_line(save, tmp_path, capfd):
    model = f"metric3d-v2:{save(network(scale=1e-3))}"
    command = ["depth", "", str(tmp_path / "depth.png"), "--force", "--model", model]
    for name, photo in (("plain.png", None), ("exif.png", photo_with({41989: 50}))):
        fr.write_photo(tmp_path / name, PHOTO, like=photo)
    command[1] = str(tmp_path / "plain.png")
    assert cli.main(command) == 1
    said = capfd.readouterr().err
    assert f"--model {model} needs --focal-px" in said
    assert "focal_px" not in said
    assert cli.main([*command, "--focal-px", "80"]) == 0
    command[1] = str(tmp_path / "exif.png")
    assert cli.main(command) == 0


# --- cards that are not named


FULL = {"output": "inverse", "mean": HALF[0], "std": HALF[1], "size": [32, 64]}


@pytest.mark.parametrize("name", ["model.onnx.json", "model.json"])
def test_a_card_beside_the_file(save, name):
    path = save(network())
    save(json.dumps(FULL).encode(), name)
    depth = fr.estimate_depth(PHOTO, model=path)
    assert depth.kind == "inverse"
    np.testing.assert_allclose(depth.values, resized(np.exp(seen_sum((32, 64), *HALF)), (H, W)), rtol=1e-4)


def test_a_card_beside_a_link_to_the_file(save, tmp_path):
    (tmp_path / "store").mkdir()
    save(network(), "store/0a1b2c")
    (tmp_path / "model.onnx").symlink_to(tmp_path / "store" / "0a1b2c")
    save(json.dumps(FULL).encode(), "model.onnx.json")
    assert fr.estimate_depth(PHOTO, model=tmp_path / "model.onnx").kind == "inverse"


def test_a_card_in_the_metadata(save):
    path = save(network(metadata={"fastrefocus_card": json.dumps(FULL)}))
    np.testing.assert_allclose(
        fr.estimate_depth(PHOTO, model=path).values, resized(np.exp(seen_sum((32, 64), *HALF)), (H, W)), rtol=1e-4
    )


def test_a_named_card_comes_first_then_the_file_beside(save):
    path = save(network(metadata={"model": "plain"}))
    assert fr.estimate_depth(PHOTO, model=path).kind == "relative"
    save(json.dumps(FULL).encode(), "model.onnx.json")
    assert fr.estimate_depth(PHOTO, model=path).kind == "inverse"
    assert fr.estimate_depth(PHOTO, model=f"fastdepth:{path}").kind == "metric"


def test_a_known_card_with_differences(save):
    path = save(network(scale=1 / 255))
    card = {"card": "midas-small", "normalised_inside": True, "white": 255, "channels": "bgr", "size": 96}
    save(json.dumps(card).encode(), "model.onnx.json")
    answer = np.exp(resized(PHOTO, (64, 96)) @ WEIGHTS[::-1])
    np.testing.assert_allclose(fr.estimate_depth(PHOTO, model=path).values, answer, rtol=1e-4)


def test_null_removes_what_a_known_card_says(save):
    path = save(network())
    save(json.dumps({"card": "fastdepth", "output": "inverse", "limits": None}).encode(), "model.onnx.json")
    answer = np.exp(seen_sum((224, 224), *NONE))
    found = fr.estimate_depth(PHOTO, model=path)
    assert found.kind == "inverse"
    np.testing.assert_allclose(found.values, resized(answer, (H, W)), rtol=1e-4)


def test_units(save):
    save(json.dumps({**FULL, "output": "metric", "unit_m": 0.01, "limits": [0.005, 0.02]}).encode(), "model.onnx.json")
    answer = np.clip(0.01 * np.exp(seen_sum((32, 64), *HALF)), 0.005, 0.02)
    found = fr.estimate_depth(PHOTO, model=save(network())).values
    np.testing.assert_allclose(found, resized(answer, (H, W)), rtol=1e-4)


@pytest.mark.parametrize(("limit", "extreme"), [(1e-3, np.min), (1e4, np.max)])
def test_metres_are_clipped_where_a_card_has_no_limits(save, limit, extreme):
    unit = float(limit / np.median(np.exp(seen_sum((32, 64), *HALF))))
    save(json.dumps({**FULL, "output": "metric", "unit_m": unit}).encode(), "model.onnx.json")
    assert extreme(fr.estimate_depth(PHOTO, model=save(network())).values) == np.float32(limit)


def test_nothing_is_guessed(save):
    path = save(network())
    with pytest.raises(ModelError, match=r"does not say.*CARD:.*midas-small.*model\.onnx\.json"):
        fr.estimate_depth(PHOTO, model=path)
    with pytest.raises(ModelError, match="does not say"):
        fr.estimate_depth(PHOTO, model=save(network(metadata={"model": "somebody's"}), "other.onnx"))


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("", "no card in JSON"),
        ("[1]", "must hold a JSON object.*got list"),
        ("[" * 100_000, "no card in JSON"),
        ("{}", r'lacks "output" .*"mean" .*"std" .*"size"'),
        ('{"output": "inverse", "normalised_inside": true}', 'lacks "size"'),
        ('{"output": "inverse", "mean": [0, 0, 0], "size": [32, 32]}', 'lacks "std"'),
        ('{"output": "inverse", "normalised_inside": true, "size": null}', 'lacks "size"'),
        ('{"card": "midas"}', "card must be one of .*midas-small.*got 'midas'"),
        ('{"card": ["midas"]}', "card must be one of"),
        ('{"card": [["midas"]]}', "card must be one of"),
        ('{"card": {"midas": 1}}', "card must be one of"),
        ('{"output": "metres"}', "output must be one of"),
        ('{"card": "plain", "output": null}', "output must be one of"),
        ('{"card": "plain", "fit": "stretch", "size": null}', 'lacks "size"'),
        ('{"card": "fastdepth", "output": "inverse"}', "limits must .* null removes an entry of it"),
        ('{"card": "plain", "white": 255}', '"white" has no effect without "normalised_inside": true'),
        ('{"card": "midas-small", "normalised_inside": true, "std": [1, 1, 1]}', '"std" has no effect with'),
        ('{"card": "fastdepth", "multiple": 14}', "\"multiple\" has no effect with the fit 'stretch'"),
        ('{"card": "midas-small", "unit_m": 0.1}', "\"unit_m\" has no effect on the output 'inverse'"),
        ('{"card": "fastdepth", "canonical_focal_px": 9}', '"canonical_focal_px" has no effect'),
        ('{"card": "plain", "output_names": ["deep"]}', '"output_names" has no effect where the outputs are depth'),
        ('{"card": "plain", "colour": "rgb"}', "unknown entries colour; there are card, output"),
        ('{"card": "plain", "output": "depth"}', "output must be one of"),
        ('{"card": "plain", "mean": [1, 2]}', "mean must hold three numbers"),
        ('{"card": "plain", "std": [1, 2, 0]}', "std"),
        ('{"card": "plain", "mean": [NaN, 0, 0]}', "mean"),
        ('{"card": "plain", "mean": "red"}', "mean must be a sequence"),
        ('{"card": "plain", "size": [32, 32]}', "size must be an int"),
        ('{"card": "fastdepth", "size": 32}', r"size must be \(height, width\)"),
        ('{"card": "fastdepth", "size": [0, 32]}', "size must be >= 1"),
        ('{"card": "fastdepth", "size": [32, 1000000]}', "size must be <= 4096"),
        ('{"card": "plain", "size": 1000000}', "size must be <= 4096"),
        ('{"card": "fastdepth", "limits": [0, 10]}', "limits"),
        ('{"card": "fastdepth", "limits": [10, 1]}', "limits"),
        ('{"card": "fastdepth", "limits": [1, 2, 3]}', "limits"),
        ('{"card": "midas-small", "limits": [0.1, 1]}', "limits"),
        ('{"card": "plain", "limits": [-1e-12, 1]}', "limits"),
        ('{"card": "plain", "limits": [0, 1.01]}', "limits"),
        ('{"card": "plain", "channels": "gbr"}', "channels must be"),
        ('{"card": "plain", "fit": "crop"}', "fit must be"),
        ('{"card": "plain", "white": 0}', "white must be"),
        ('{"card": "plain", "multiple": 0}', "multiple must be"),
        ('{"card": "plain", "output_names": "depth"}', "output_names must be"),
        ('{"card": "plain", "normalised_inside": 1}', "normalised_inside must be"),
    ],
)
def test_broken_cards(save, card, message):
    path = save(network())
    beside = save(card.encode(), "model.onnx.json")
    with pytest.raises(ModelError, match=message) as caught:
        fr.estimate_depth(PHOTO, model=path)
    assert str(beside) in str(caught.value)


def test_a_card_that_is_no_text(save):
    path = save(network())
    save(b"\xff\xfe\x00", "model.onnx.json")
    with pytest.raises(ModelError, match=r"model\.onnx\.json is not a text in UTF-8"):
        fr.estimate_depth(PHOTO, model=path)


def test_a_size_is_not_asked_for_where_the_file_fixes_it(save):
    path = save(network(inputs=[tensor("image", 1, 3, 16, 48)]))
    save(json.dumps({"output": "inverse", "normalised_inside": True}).encode(), "model.onnx.json")
    expected = resized(np.exp(seen_sum((16, 48), *NONE)), (H, W))
    np.testing.assert_allclose(fr.estimate_depth(PHOTO, model=path).values, expected, rtol=1e-4)


@pytest.mark.parametrize("factor", [1, 255])
def test_normalising_twice_is_noticed(save, factor):
    mean = constant("mean", (np.float64(IMAGENET[0]) * factor).astype(np.float32).reshape(1, 3, 1, 1))
    nodes = [
        helper.make_node("Sub", ["image", "mean"], ["centred"]),
        helper.make_node("ReduceMean", ["centred"], ["depth"], axes=[1]),
    ]
    path = save(tiny_models.make_model(nodes, [mean]))
    with pytest.raises(ModelError, match=r"would do once more.*\"normalised_inside\": true"):
        fr.estimate_depth(PHOTO, model=f"midas-small:{path}")
    assert fr.estimate_depth(PHOTO, model=f"plain:{path}").kind == "relative"  # its card does not normalise
    for inside in (True, False):
        save(json.dumps({"card": "midas-small", "normalised_inside": inside}).encode(), "model.onnx.json")
        assert fr.estimate_depth(PHOTO, model=path).kind == "inverse"


# --- accuracy, edges


def test_high_accuracy_is_the_mean_over_the_mirror_image(save):
    """A network that adds to the answer what grows to the right: the mirror image takes it away again."""
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["red"]),
        helper.make_node("CumSum", ["ones", "axis"], ["ramp"]),
        helper.make_node("Shape", ["red"], ["shape"]),
        helper.make_node("Expand", ["step", "shape"], ["ones"]),
        helper.make_node("Add", ["red", "ramp"], ["depth"]),
    ]
    order = [0, 2, 3, 1, 4]
    constants = [
        constant("kernel", np.float32([1, 0, 0]).reshape(1, 3, 1, 1)),
        constant("axis", np.array(3, np.int64)),
        constant("step", np.full((1, 1, 1, 1), 0.01, np.float32)),
    ]
    model = f"plain:{save(tiny_models.make_model([nodes[i] for i in order], constants))}"
    red = PHOTO[..., 0]
    fast = red + 0.01 * np.arange(1, W + 1, dtype=np.float32)
    np.testing.assert_allclose(fr.estimate_depth(PHOTO, model=model).values, scaled(fast), atol=1e-5)
    high = fr.estimate_depth(PHOTO, model=model, accuracy="high").values
    np.testing.assert_allclose(high, scaled(red), atol=1e-5)


def test_edges_come_back(save):
    """The network sees 120 x 160 pixels of a photo of 480 x 640."""
    photo = np.full((480, 640, 3), 0.2, np.float32)
    photo[100:380, 203:437] = 0.9
    card = {**FULL, "std": None, "normalised_inside": True, "size": [120, 160]}
    path = save(network(metadata={"fastrefocus_card": json.dumps(card)}))
    smeared = fr.estimate_depth(photo, model=path)
    steep = fr.estimate_depth(photo, model=path, refine=True)
    np.testing.assert_array_equal(steep.values, fr.refine_depth(smeared, photo).values)
    assert np.abs(np.diff(smeared.values[240])).max() < 0.2 * np.ptp(smeared.values)
    whole = np.ptp(smeared.values)
    for outline in (203, 437):
        at_it = np.s_[240, outline - 3 : outline + 3]
        assert np.ptp(smeared.values[at_it]) < 0.8 * whole
        assert np.ptp(steep.values[at_it]) > 0.98 * whole


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"focal_px": 0}, ValueError, "focal_px must be"),
        ({"focal_px": "50"}, TypeError, "focal_px must be"),
        ({"accuracy": "best"}, ValueError, "accuracy must be one of 'fast', 'high'"),
        ({"refine": 1}, TypeError, "refine must be"),
        ({"image": fr.Photo(PHOTO * 255)}, ValueError, "image.* must hold values of 0..1"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        fr.estimate_depth(**{"image": PHOTO} | arguments)
