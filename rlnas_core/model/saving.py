"""Save a trained network as a directory: weights, description, ONNX file, picture and model card."""

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlnas_core import __version__
from rlnas_core.model.loading import DESCRIPTION, WEIGHTS, Model, ModelDescription
from rlnas_core.paper.drawings import draw_blocks, draw_cell, draw_cells
from rlnas_core.spaces import get
from rlnas_core.training.checkpoint import save_weights, versions

ONNX, CARD, PICTURE = "model.onnx", "README.md", "architecture.png"
TOLERANCE = 1e-4
_CHECKED = 4  # images for the comparison of ONNX Runtime with PyTorch
_OPSET = 18
_DRAWINGS = {
    "nas_bench_201": draw_cell,
    "darts": lambda genes: draw_cells({"darts": genes}),
    "mobilenet": lambda genes: draw_blocks({"mobilenet": genes}),
}
_UNTRAINED = (
    "**not trained**, since the images had no labels: they are those that a training begins with. Its "
    "scores, one for each random label, mean nothing until it is trained"
)
_BEST = "\n\nThe epoch with the highest top1 on these images was kept, so the numbers can be too high."
_CROPS = {
    "whole": "of the whole image, resized by area averages (Pillow's BOX)",
    "square": "of its central square, resized by area averages (Pillow's BOX)",
    "centre": "from its centre, after its short side was resized to 8/7 of that (Pillow's BILINEAR)",
}
_CARD = """\
# {title}

An image classifier whose architecture was found or chosen in the search space `{space}` and whose weights
were {weights}.

{picture}## Data

- dataset: {dataset}
- images: {colours}, {size} pixels a side, {crop}
- {classes}

## Network

{network}

## Accuracy on held-out images

{accuracies}

## Limits

The accuracy holds for images like those of the dataset. Scores are not calibrated probabilities, and every
image is given one of the classes above, also one that shows none of them.

## Use

Install the library from a checkout of the RLNAS workflow; version {version} made this model:

```sh
pip install RLNAS/  # the path of the checkout
```

```python
from PIL import Image
from rlnas_core import load_model

model = load_model(".")  # this directory
scores = model(Image.open("photo.jpg")).softmax(1)[0]
print(model.description.class_names[scores.argmax()], scores.max().item())
```

`{onnx}` takes `images`, uint8 (batch, {size}, {size}, {channels}), and gives `scores`; ONNX Runtime alone
runs it. All that made the model is in `model.json`.
"""


def save_model(
    model: Model,
    folder: str | Path,
    accuracies: Mapping[str, float] | None = None,
    images: int | None = None,
) -> None:
    """Write a model for `load_model`, with an ONNX file, a model card and, except for chains, a picture.

    The model stays as it is; one that returns feature maps is written with its class scores.

    `accuracies` on so many held-out `images`, in percent, are shown in the card. Raises ImportError without
    the packages of the extra `export`, and ArithmeticError if ONNX Runtime and PyTorch differ.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    description = replace(model.description, versions=versions())
    text = json.dumps(asdict(description), indent=2, ensure_ascii=False) + "\n"
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")
    made_by = dict(description.made_by)
    save_weights(model.network, folder / WEIGHTS, space=description.space, arch=description.arch, **made_by)
    export_onnx(model, folder / ONNX)
    if draw := _DRAWINGS.get(description.space):
        figure = draw(description.genes)
        figure.savefig(folder / PICTURE, dpi=150, metadata={"Software": None})
    (folder / CARD).write_text(card(model, accuracies or {}, images), encoding="utf-8")


def export_onnx(model: Model, path: str | Path) -> float:
    """Write a model as ONNX and return the largest difference of its scores from PyTorch's on the CPU.

    The input `images` is uint8 (batch, S, S, C), the output `scores` (batch, classes). Raises the errors of
    `onnx_difference`.
    """
    scoring = copy.deepcopy(model).cpu().eval()
    scoring.features = False
    torch.onnx.export(
        scoring,
        (torch.from_numpy(_random_images(model)),),
        str(path),
        input_names=["images"],
        output_names=["scores"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=_OPSET,
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    return onnx_difference(scoring, path)


@torch.no_grad()
def onnx_difference(model: Model, path: str | Path) -> float:
    """The largest difference between scores of an ONNX file and a model, relative to the largest score or 1.

    Raises ArithmeticError if it is more than 1e-4.
    """
    import onnxruntime

    images = _random_images(model)
    expected = model(torch.from_numpy(images)).numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images})
    difference = float(np.abs(found - expected).max() / max(1, np.abs(expected).max()))
    if not difference <= TOLERANCE:
        raise ArithmeticError(
            f"{path}: ONNX Runtime's scores differ from PyTorch's by {difference:.2g}; accepted: at most "
            f"{TOLERANCE}; export with other versions of onnxruntime and torch"
        )
    return difference


def _random_images(model: Model) -> np.ndarray:
    size, channels = model.description.image_size, model.description.in_channels
    rng = np.random.default_rng(0)
    return rng.integers(256, size=(_CHECKED, size, size, channels), dtype=np.uint8)


def card(model: Model, accuracies: Mapping[str, float], images: int | None = None) -> str:
    """Return the model card in Markdown: data, search, network, accuracy, limits, how to load it."""
    of, made_by = model.description, dict(model.description.made_by)
    weights = sum(weight.numel() for weight in model.network.parameters())
    network = [f"architecture: `{of.arch}`", f"{weights / 1e6:.3f} million parameters, {_flops(of)}"]
    network += [f"{name}: {value}" for name, value in of.sizes.items()]
    names = [str(name) for name in of.class_names]
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return _CARD.format(
        title=made_by.get("architecture", of.arch),
        space=of.space,
        picture=f"![architecture]({PICTURE})\n\n" if of.space in _DRAWINGS else "",
        weights="trained on labelled images" if made_by.get("trained", True) else _UNTRAINED,
        dataset=made_by.get("dataset", "not recorded"),
        colours="grey" if of.in_channels == 1 else "colour",
        crop=_CROPS[of.crop],
        classes=f"{len(names)} classes: {', '.join(names[:20])}{more}",
        network="\n".join(f"- {line}" for line in network),
        accuracies=_accuracies(accuracies, images, len(names), made_by) or "not measured",
        version=__version__,
        onnx=ONNX,
        size=of.image_size,
        channels=of.in_channels,
    )


def _accuracies(
    accuracies: Mapping[str, float], images: int | None, classes: int, made_by: Mapping[str, Any]
) -> str:
    lines = []
    for name, value in accuracies.items():
        counted = f" ({round(value * images / 100):,} of {images:,} images)" if images else ""
        if name != "top5" or classes > 5:  # the five highest of five scores are all
            lines.append(f"- {name}: {value:.2f}%{counted}")
    best = lines and made_by.get("settings", {}).get("kept") == "best"
    return "\n".join(lines) + _BEST * bool(best)


def _flops(of: ModelDescription) -> str:
    sizes = {**of.sizes, "classes": len(of.class_names), "image_size": of.image_size}
    stem = ""
    if of.space == "nas_bench_201":
        sizes["in_channels"] = of.in_channels
    elif of.in_channels != 3:
        stem = ", counted for colour images"  # as the limits of a search in these spaces are
    _, (flops,) = get(of.space).cost(of.genes[None], **sizes)
    return f"{flops / 1e6:.2f} million FLOPs (multiply-adds) at {of.image_size} pixels{stem}"
