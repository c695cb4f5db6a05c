"""Transfer of networks to object detection and semantic segmentation."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlnas_core.transfer.backbone import Transfer

_MODULES = {"coco": "detection", "cityscapes": "segmentation"}


def get(scenes: str) -> "Transfer":
    """The task of `coco` or `cityscapes`; imported on demand, since its libraries load slowly."""
    return import_module(f"{__name__}.{_MODULES[scenes]}").TRANSFER
