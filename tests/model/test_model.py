"""A saved model gives the network's own scores, in PyTorch and in ONNX, for images as they are."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

import rlnas_core
from rlnas_core.model.loading import Model, ModelDescription, model_of, set_weights
from rlnas_core.model.saving import card, export_onnx, onnx_difference, save_model
from rlnas_core.networks.layers import initialise
from rlnas_core.spaces import get, published
from rlnas_core.training.checkpoint import save_weights
from rlnas_core.training.loop import Run
from rlnas_core.training.standalone import RetrainingSettings, draw_weights, retrain

ROOT = Path(__file__).parents[2]

SPACES = {
    "nas_bench_201": ({"channels": 8, "cells": 1}, 1, 8),
    "darts": ({"channels": 4, "cells": 3, "imagenet": False}, 3, 16),
    "mobilenet": ({}, 3, 32),
    "chain": ({}, 3, 32),
}
ARCH = "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"


def architecture(space):
    if space == "nas_bench_201":
        return ARCH
    name = {"darts": "RLNAS-cifar10", "mobilenet": "RLNAS-mobilenet", "chain": "FairNAS-A"}[space]
    return get(space).to_string(published()[name].genes[None])[0]


def made(space, **others):
    """A model whose normalisation has statistics of its own, as trained ones do."""
    sizes, channels, size = SPACES[space]
    description = ModelDescription(
        space=space, arch=architecture(space), sizes=sizes, class_names=["ä", "b", "c"],
        in_channels=channels, image_size=size, mean=[0.4] * channels, std=[0.25] * channels,
        made_by={"dataset": "photos"}, **others,
    )  # fmt: skip
    model = Model(description)
    draws = torch.Generator().manual_seed(0)
    initialise(model.network, draws)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=draws)
            module.running_var.uniform_(0.5, 1.5, generator=draws)
    return model


@pytest.fixture(scope="module", params=SPACES)
def saved(request, tmp_path_factory):
    model, folder = made(request.param), tmp_path_factory.mktemp(request.param)
    save_model(model, folder, {"top1": 90.0, "top5": 100.0}, 20)
    return model, folder


def pixels(model, count=2):
    size, channels = model.description.image_size, model.description.in_channels
    return np.random.default_rng(1).integers(256, size=(count, size, size, channels), dtype=np.uint8)


@torch.no_grad()
def test_a_loaded_model_gives_the_same_scores_as_onnx_runtime_does(saved):
    model, folder = saved
    loaded, images = rlnas_core.load_model(folder), pixels(model)
    expected = model.network(
        torch.from_numpy((images / 255 - 0.4) / 0.25).float().permute(0, 3, 1, 2)
    )  # what a network sees in training
    scores = loaded(images)
    assert torch.allclose(scores, expected, atol=1e-4)
    assert torch.equal(scores, loaded(torch.from_numpy(images)))
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images})
    assert np.abs(found - scores.numpy()).max() < 1e-4 * max(1, np.abs(found).max())
    assert loaded.description.class_names == ["ä", "b", "c"]
    assert not loaded.training


@torch.no_grad()
def test_features_are_the_last_map_of_each_stage(saved):
    model, folder = saved
    loaded = rlnas_core.load_model(folder, features=True)
    size = 64  # a network takes other sizes than the one that it was trained on
    maps = loaded(torch.randn(1, model.description.in_channels, size, size))
    assert [(one.shape[1], size // one.shape[-1]) for one in maps] == loaded.stages()
    strides = [stride for _, stride in loaded.stages()]
    assert strides == sorted(set(strides))
    assert len(strides) >= 3


def test_the_folder_explains_itself(saved, monkeypatch):
    model, folder = saved
    card = (folder / "README.md").read_text()
    assert "- top1: 90.00% (18 of 20 images)\n" in card
    assert "top5" not in card  # of three classes
    assert "photos" in card
    assert " pixels a side, of the whole image, resized by area averages (Pillow's BOX)\n" in card
    assert "was kept" not in card
    assert f"version {rlnas_core.__version__} made this model" in card
    install = "pip install RLNAS/"
    assert install in card
    assert install in (ROOT / "docs/model.md").read_text()
    monkeypatch.chdir(folder)
    Image.new("RGB", (50, 40), "teal").save("photo.jpg")
    (example,) = re.findall(r"^```python\n(.*?)^```", card, re.DOTALL | re.MULTILINE)
    exec(example, {"__name__": "card"})
    assert ("![" in card) == (model.description.space != "chain")
    if "![" in card:
        assert Image.open(folder / "architecture.png").size > (300, 100)
    described = json.loads((folder / "model.json").read_text())
    assert described["versions"]["rlnas-core"] == rlnas_core.__version__
    assert described["arch"] == model.description.arch


@torch.no_grad()
def test_the_card_counts_the_flops_of_its_own_network(saved):
    model, folder = saved
    size, channels = model.description.image_size, model.description.in_channels
    with FlopCounterMode(display=False) as counter:
        model.network(torch.zeros(1, channels, size, size))
    classifier = model.network.classifier  # its sums count too, as in the paper
    flops = counter.get_total_flops() / 2 + (classifier.in_features - 1) * classifier.out_features
    line = f" parameters, {flops / 1e6:.2f} million FLOPs (multiply-adds) at {size} pixels\n"
    assert line in (folder / "README.md").read_text()


def test_the_card_says_that_flops_of_grey_networks_are_counted_for_colour_images():
    grey = Model(replace(made("darts").description, in_channels=1, mean=[0.4], std=[0.25]))
    assert "at 16 pixels, counted for colour images\n" in card(grey, {})


def test_the_card_says_that_the_best_epoch_was_chosen_on_the_images_of_its_accuracy():
    described = made("darts").description
    model = Model(replace(described, made_by={"settings": {"kept": "best"}}))
    lines = card(model, {"top1": 50.0}).splitlines()
    assert lines[lines.index("- top1: 50.00%") + 2].startswith("The epoch with the highest top1 on these")
    assert "was kept" not in card(model, {})


@torch.no_grad()
def test_pictures_of_any_size_and_mode_are_taken():
    model = made("darts", crop="centre")
    picture = Image.fromarray(pixels(model)[0])
    modes = [picture.convert(mode) for mode in ("RGB", "RGBA", "P", "L", "CMYK", "1")]
    assert model([mode.resize((40, 23)) for mode in modes]).shape == (6, 3)
    assert model(np.zeros((50, 20), np.uint8)).shape == (1, 3)
    whole = made("darts")
    assert torch.equal(whole(picture), whole(np.asarray(picture)))
    with pytest.raises(ValueError, match=r"got an array \(4, 4, 3\) of float64; supported: uint8"):
        model(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match=r"got a tensor \(1, 3, 16, 16\) of torch.uint8; supported: uint8"):
        model(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))


def test_a_model_can_be_trained_further():
    model = made("nas_bench_201").train()
    before = model.network.classifier.weight.clone()
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    torch.nn.functional.cross_entropy(model(pixels(model, 8)), torch.arange(8) % 3).backward()
    optimiser.step()
    assert not torch.equal(before, model.network.classifier.weight)


def test_a_model_is_loaded_with_a_new_classifier_for_other_classes(saved):
    model, folder = saved
    loaded = rlnas_core.load_model(folder, class_names=["cat", "dog"])
    assert loaded(pixels(model)).shape == (2, 2)
    assert loaded.description.class_names == ["cat", "dog"]
    for name, weight in loaded.network.state_dict().items():
        assert name.startswith("classifier.") or torch.equal(weight, model.network.state_dict()[name])


def test_what_is_no_model_is_refused(saved, tmp_path):
    model, folder = saved
    with pytest.raises(
        FileNotFoundError, match=r"has no model.json, weights.safetensors; give the directory"
    ):
        rlnas_core.load_model(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes((folder / "weights.safetensors").read_bytes())
    (tmp_path / "model.json").write_text("{}")
    described = json.loads((folder / "model.json").read_text())
    for changed, message in (
        (None, "missing"),
        ({"crop": "center"}, "crop: got 'center'; accepted: whole, square, centre"),
        ({"mean": [0.4, 0.4]}, r"mean: got 2 numbers; accepted: \d, one per channel"),
        ({"in_channels": 2}, "in_channels: got 2; accepted: 1, 3"),
    ):
        if changed:
            (tmp_path / "model.json").write_text(json.dumps(described | changed))
        with pytest.raises(ValueError, match=f"describes no model: .*{message}"):
            rlnas_core.load_model(tmp_path)
    with pytest.raises(ValueError, match=r"^class_names: got none"):
        rlnas_core.load_model(folder, class_names=[])
    with pytest.raises(ValueError, match=r"^images: got none"):
        model([])
    with pytest.raises(ValueError, match=r"FILE: got weights of another network"):
        set_weights(model, {"classifier.weight": torch.zeros(1)}, "FILE")


def test_a_model_stays_as_it_is_when_it_is_written_also_one_of_feature_maps(tmp_path):
    model = made("nas_bench_201").train()
    model.features = True
    export_onnx(model, tmp_path / "model.onnx")
    assert model.features
    assert all(module.training for module in model.modules())
    model.features = False
    assert onnx_difference(model.eval(), tmp_path / "model.onnx") < 1e-4


def test_an_onnx_file_of_other_weights_is_refused(saved):
    _, folder = saved
    other = rlnas_core.load_model(folder)
    assert onnx_difference(other, folder / "model.onnx") < 1e-4
    with torch.no_grad():
        other.network.classifier.bias.add_(0.01)
    with pytest.raises(ArithmeticError, match="differ from PyTorch's by"):
        onnx_difference(other, folder / "model.onnx")


def test_a_retrained_network_is_described_by_its_weights_and_dataset(digits, tmp_path):
    space, genes = get("nas_bench_201"), get("nas_bench_201").from_string([ARCH])[0]
    settings = RetrainingSettings(
        epochs=4, channels=8, cells=1, batch_size=64, learning_rate=0.1, device="cpu", schedule="cosine"
    )
    network, found = retrain(space, genes, *digits, settings, 0, run=Run(lambda line: None))
    assert found["top1"] > 50  # chance is 10
    path = tmp_path / "weights.safetensors"
    save_weights(network, path, space=space.name, arch=ARCH, settings=asdict(settings))
    images = digits[1].images
    dataset = {"class_names": [], "classes": 10, "in_channels": 1, "image_size": 8, "decode": "once"}
    dataset["crop"] = "whole"
    model = model_of(path, dataset | {"mean": images.mean, "std": images.std})
    assert model.description.class_names == list("0123456789")
    right = model(np.asarray(images.images)).argmax(1).numpy() == digits[1].labels
    assert 100 * right.mean() == pytest.approx(found["top1"])


@pytest.mark.parametrize("space", ["nas_bench_201", "darts"])
def test_an_untrained_model_has_the_weights_with_which_retraining_begins(digits, space):
    sizes = {**SPACES[space][0], "channels": 4}
    auxiliary = {"auxiliary": 0.4} if space == "darts" else {}
    description = replace(
        made(space).description, class_names=list("0123456789"), sizes=sizes, in_channels=1,
        mean=[0.4], std=[0.25],
    )  # fmt: skip
    settings = RetrainingSettings(
        epochs=1, batch_size=512, learning_rate=0, device="cpu", **sizes, **auxiliary
    )  # such a training leaves the weights as they are
    network, _ = retrain(get(space), description.genes, *digits, settings, 3, run=Run(lambda line: None))
    begins = dict(network.named_parameters())
    untrained = description.network()
    draw_weights(untrained, 3)
    for name, weight in untrained.named_parameters():
        assert torch.equal(weight, begins[name]), name


def test_the_examples_of_the_page_run(saved, tmp_path, monkeypatch):
    _model, folder = saved
    for name in ("model", "results/search/model"):  # as the two pages name it
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(folder)
    Image.new("RGB", (50, 40), "teal").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    for page, count in (("docs/model.md", 5), ("README.md", 1)):
        text = (ROOT / page).read_text()
        blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        assert len(blocks) == count
        exec("\n".join(blocks), {"__name__": "page"})


def test_importing_the_library_loads_no_torch():
    code = "import sys, rlnas_core; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
