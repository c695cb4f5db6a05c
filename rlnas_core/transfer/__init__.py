"""Transfer of networks to object detection and semantic segmentation."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlnas_core.transfer.backbone import Transfer

_MODULES = {"coco": "detection", "cityscapes": "segmentation"}


def get(scenes: str) -> "Transfer":
    """The task on scenes (`coco`, `cityscapes`), imported when asked for since its libraries take seconds."""
    return import_module(f"{__name__}.{_MODULES[scenes]}").TRANSFER
