"""The cards of the families of depth networks that are known by name; each is a row of data."""

from fastrefocus.depth.networks.card import ModelCard, Published

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5)

_HUGGING_FACE = "https://huggingface.co/onnx-community"
_MIDAS = "https://github.com/isl-org/MiDaS"

#: The cards by name.
CARDS = {
    card.name: card
    for card in (
        ModelCard(
            name="builtin",
            output="relative",
            fit="reduce",
            size=512,
            multiple=16,
            limits=(0.0, 1.0),
            published=Published(licence="BSD-3-Clause", size="in the package", source="in the package"),
        ),
        # For files that say no more than: RGB 0..1 in, larger is farther out.
        ModelCard(
            name="plain",
            output="relative",
            fit="reduce",
            size=384,
            multiple=32,
            published=Published(source="any file that follows it"),
        ),
        # Ranftl et al. 2020; hubconf.py, small_transform.
        ModelCard(
            name="midas-small",
            output="inverse",
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            fit="longest",
            size=256,
            multiple=32,
            published=Published(
                licence="MIT",
                size="67 MB",
                source=f"{_MIDAS}/releases/tag/v2_1",
                url=f"{_MIDAS}/releases/download/v2_1/model-small.onnx",
                sha256="2d8c6cb8f415229daf1eb041024208e2608c9f98e17c81cc7c6ecb449c56fd58",
            ),
        ),
        # Ranftl et al. 2021; hubconf.py of MiDaS, dpt_transform.
        ModelCard(
            name="dpt",
            output="inverse",
            mean=_HALF,
            std=_HALF,
            fit="shortest",
            size=384,
            multiple=32,
            output_names=("predicted_depth",),
            published=Published(licence="MIT", source=f"{_MIDAS} (PyTorch, to be exported)"),
        ),
        # Yang et al. 2024; depth_anything_v2/dpt.py, image2tensor.
        ModelCard(
            name="depth-anything-v2",
            output="inverse",
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            fit="shortest",
            size=518,
            multiple=14,
            output_names=("predicted_depth", "depth"),
            published=Published(
                licence="Apache-2.0 (small), CC-BY-NC-4.0 (base, large)",
                size="99 MB (small)",
                source=f"{_HUGGING_FACE}/depth-anything-v2-small",
                url=f"{_HUGGING_FACE}/depth-anything-v2-small/resolve/4472b7362082ad9968fee890ca0f1e5aca36b93d/"
                "onnx/model.onnx",
                sha256="afb6a5c28f3b6bf1618c6e43f02073ef9dfdc70e937502d51603e57b0a1df10c",
            ),
        ),
        ModelCard(
            name="depth-anything-v2-metric",
            output="metric",
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            fit="shortest",
            size=518,
            multiple=14,
            output_names=("predicted_depth", "depth"),
            published=Published(
                source="https://github.com/DepthAnything/Depth-Anything-V2/tree/main/metric_depth "
                "(PyTorch, to be exported)"
            ),
        ),
        # Lin et al. 2025: depth up to one factor, so that its reciprocal is inverse depth; input_processor.py.
        ModelCard(
            name="depth-anything-3",
            output="distance",
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            fit="longest",
            size=504,
            multiple=14,
            output_names=("predicted_depth", "depth"),
            published=Published(
                licence="Apache-2.0 (small, base), CC-BY-NC-4.0 (large, giant)",
                size="105 MB (small, in two files)",
                source=f"{_HUGGING_FACE}/depth-anything-v3-small",
            ),
        ),
        # Hu et al. 2024; hubconf.py and onnx/metric3d_onnx_export.py, which takes 0..255 and normalises inside.
        ModelCard(
            name="metric3d-v2",
            output="canonical-metric",
            mean=_IMAGENET_MEAN,
            normalised_inside=True,
            white=255.0,
            fit="pad",
            size=(616, 1064),
            limits=(1e-3, 300.0),
            canonical_focal_px=1000.0,
            output_names=("predicted_depth", "pred_depth"),
            published=Published(
                licence="BSD-2-Clause (code; not stated for the weights)",
                size="151 MB (small)",
                source=f"{_HUGGING_FACE}/metric3d-vit-small",
                url=f"{_HUGGING_FACE}/metric3d-vit-small/resolve/ee63b95d92d2f629b3e019e88f57eea7c1e97d4b/"
                "onnx/model.onnx",
                sha256="674a665052f01bb2b64687200182f3380f0a462f4b6ef2e51fefd06c84d8ee75",
            ),
        ),
        # Bochkovskii et al. 2024; depth_pro.py, forward and infer.
        ModelCard(
            name="depth-pro",
            output="canonical-inverse",
            mean=_HALF,
            std=_HALF,
            size=(1536, 1536),
            limits=(1e-4, 1e4),
            output_names=("canonical_inverse_depth", "predicted_depth"),
            refused_outputs=("focallength_px",),  # of infer, which gives metres by a focal length of its own
            published=Published(
                licence="Apple's, for research",
                size="1 GB (8 bits)",
                source="https://github.com/apple/ml-depth-pro (PyTorch, to be exported)",
            ),
        ),
        # Wofk et al. 2019, trained on rooms of 0.7 to 10 m, squeezed to a square.
        ModelCard(
            name="fastdepth",
            output="metric",
            size=(224, 224),
            multiple=32,
            limits=(0.1, 10.0),
            metadata_names=("fastdepth-nyu",),
            published=Published(
                licence="MIT",
                size="5.4 MB",
                source="https://github.com/dwofk/fast-depth (PyTorch, to be exported)",
            ),
        ),
        # Zhang et al. 2023; test_simple.py. The encoder normalises.
        ModelCard(
            name="lite-mono",
            output="inverse",
            normalised_inside=True,
            size=(192, 640),
            output_names=("disp", "disp_0"),
            published=Published(licence="MIT", source="https://github.com/noahzn/Lite-Mono (PyTorch, to be exported)"),
        ),
    )
}


def card_of_metadata(name: str) -> ModelCard | None:
    """Return the card that a file's metadata names, in any case; None where there is no such card."""
    name = name.strip().lower()
    return next((card for card in CARDS.values() if name in (card.name, *card.metadata_names)), None)
