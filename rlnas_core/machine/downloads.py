"""Where to get files that no rule can download, such as those that need a registration."""

from typing import NamedTuple


class Download(NamedTuple):
    """Files to download by hand: their names, home page, size and license."""

    files: str
    home: str
    size: str
    license: str

    def __str__(self) -> str:
        return f"{self.files} ({self.size}; {self.license}) from {self.home}"


DOWNLOADS = {
    "imagenet16-120": Download(
        "the folder ImageNet16 with train_data_batch_1 to _10 and val_data",
        "https://github.com/D-X-Y/NAS-Bench-201",
        "1 GB",
        "ImageNet's terms, for non-commercial research",
    ),
    "official": Download(
        "NAS-Bench-201-v1_1-096897.pth", "https://github.com/D-X-Y/NAS-Bench-201", "5 GB", "MIT"
    ),
    "nats-bench": Download(
        "NATS-tss-v1_0-3ffb9-simple.tar, unpacked",
        "https://github.com/D-X-Y/NATS-Bench",
        "15,626 files",
        "MIT",
    ),
    "imagenet": Download(
        "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, as train/CLASS/ and val/CLASS/",
        "https://www.image-net.org/download.php",
        "145 GB",
        "registration, for non-commercial research",
    ),
    "coco": Download(
        "train2017.zip, val2017.zip and annotations_trainval2017.zip, unpacked into one folder",
        "https://cocodataset.org/#download",
        "20 GB",
        "annotations CC BY 4.0, images under Flickr's terms",
    ),
    "cityscapes": Download(
        "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, unpacked into one folder",
        "https://www.cityscapes-dataset.com/downloads/",
        "12 GB",
        "registration, for non-commercial use",
    ),
}
"""By the `source` of the configuration that reads them; ImageNet by its name."""
