"""Steps on a GPU copy nothing from pageable memory, which would wait for the GPU; none is needed here."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from rlnas_core.images.arrays import ImageArray, ImageFiles
from rlnas_core.labels import pretext
from rlnas_core.labels.methods import METHODS, PRETEXT_TASKS
from rlnas_core.labels.pretext import label_source
from rlnas_core.machine import processes
from rlnas_core.spaces import get
from rlnas_core.training.supernet import SupernetTask
from rlnas_core.transfer import detection, segmentation

GPU, COUNT = torch.device("cuda", 0), 6
INDICES, ALL = np.arange(COUNT), slice(None)
RGB = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.25), "pad": 1, "flip": True}
COPIES = {torch.ops.aten._to_copy.default: 0, torch.ops.aten.copy_.default: 1}  # and the place of the source


class Copies(TorchDispatchMode):
    """Notes copies from the CPU to a GPU, all but those from pinned memory that don't wait."""

    def __init__(self):
        super().__init__()
        self.waited = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if function in COPIES:
            source = args[COPIES[function]]
            free = getattr(source, "pinned", False) and (kwargs.get("non_blocking") or args[2:] == (True,))
            if source.device.type == "cpu" and result.device.type == "cuda" and not free:
                self.waited.append((function, source.shape))
        return result


def pin(tensor):
    pinned = tensor.clone()
    pinned.pinned = True
    return pinned


@pytest.fixture
def gpu(monkeypatch):
    """Tensors without values, on a GPU that isn't there; what a call copies to it with a wait."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9, 10**9))
    with FakeTensorMode(allow_non_fake_inputs=True):

        def waits(step):
            with Copies() as copies:
                step()
            return copies.waited

        yield waits
    for kept in (pretext._primaries, segmentation._scale):
        kept.cache_clear()


def pixels(count=COUNT, side=8):
    return np.random.default_rng(0).integers(256, size=(count, side, side, 3), dtype=np.uint8)


@pytest.fixture(params=[*METHODS, *PRETEXT_TASKS])
def labels(request):
    method, rng = request.param, np.random.default_rng(0)
    truth = None if method in PRETEXT_TASKS else np.arange(COUNT)
    return label_source(
        method, truth, PRETEXT_TASKS.get(method, COUNT), ImageArray(pixels(), **RGB), rng
    )  # before `gpu`: the bins of colours have values


@pytest.mark.parametrize("room", [True, False])
def test_batches_of_all_labels(labels, gpu, monkeypatch, room):
    if not room:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 10**9))
    task = SimpleNamespace(
        **{"data": ImageArray(pixels(), **RGB), "labels": labels, "device": GPU, "crops": torch.Generator()},
        **{"space": get("nas_bench_201"), "paths": 3, "path_rng": np.random.default_rng(0)},
        settings=SimpleNamespace(lighting=0.1),
    )
    assert gpu(lambda: SupernetTask._draw(task, INDICES, ALL))  # constants, and images that have room
    assert not gpu(lambda: SupernetTask._draw(task, INDICES, ALL))


def test_batches_of_decoded_images(gpu, tmp_path):
    for number, image in enumerate(pixels()):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    data = ImageFiles(np.array([str(tmp_path / f"{number}.png") for number in INDICES]), **RGB, size=8)
    data.plain(INDICES, GPU)
    assert not gpu(lambda: data.plain(INDICES, GPU))


def test_sums_over_processes(gpu, monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes.dist, "all_reduce", lambda tensor: None)
    weight = torch.zeros(3, device=GPU, requires_grad=True)
    weight.grad = torch.zeros(3, device=GPU)
    assert not gpu(lambda: processes.average_gradients([weight], True, look=False))
    assert not gpu(lambda: processes.var_mean(torch.zeros(2, 3, 4, 4, device=GPU)))


class Model(nn.Module):
    """What tasks need of a model; its scores are those of a layer."""

    def __init__(self):
        super().__init__()
        self.dropout = segmentation.ChannelDropout(3)
        self.layer = nn.Conv2d(3, segmentation.CLASSES, 1, device=GPU)

    def forward(self, images, targets=None):
        if targets is None:
            return dict.fromkeys(("out", "aux"), self.layer(self.dropout(images)))
        assert all(part.device == GPU for target in targets for part in target.values())
        return dict.fromkeys(("classification", "bbox_regression"), self.layer(torch.stack(images)).mean())


def test_batches_of_segmentation(gpu):
    settings, rng = segmentation.SegmentationSettings(crop=8), np.random.default_rng(0)
    task = segmentation.SegmentationTask(Model(), segmentation.CityImages([], []), settings, rng)
    cut = [(image, image[..., 0]) for image in pixels()]
    task._reader = SimpleNamespace(map=lambda work, rows, draws: cut)
    task.loss(INDICES, ALL)
    assert not gpu(lambda: task.loss(INDICES, ALL))


def test_batches_of_detection(gpu):
    boxes = np.zeros((COUNT, 4), np.float32)
    data = SimpleNamespace(starts=np.arange(COUNT + 1), boxes=boxes, labels=np.zeros(COUNT, int))
    task = detection.DetectionTask(Model(), data, np.random.default_rng(0))
    # In this thread, as the tensors without values are
    task._reader = SimpleNamespace(map=lambda work, rows: [work(image) for image in pixels()])
    assert not gpu(lambda: task.loss(INDICES, ALL))
