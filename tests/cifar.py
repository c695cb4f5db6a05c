"""CIFAR-10's archive in its own format with few images, and a server on this machine that publishes it."""

import hashlib
import io
import pickle
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10


def tarred(content: dict[str, bytes], path: Path, mode: str = "w:gz") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def pickled(content: object) -> bytes:
    return pickle.dumps(content, protocol=2)


def tiny_cifar10(each: int = 10) -> tuple[dict[str, bytes], np.ndarray]:
    """The files of CIFAR-10's archive with so many images a batch, and the images (N, 32, 32, 3)."""
    rng = np.random.default_rng(0)
    batches = {}
    images = rng.integers(256, size=(6 * each, 3, 32, 32), dtype=np.uint8)
    for row, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
        data = images[each * row : each * (row + 1)].reshape(each, -1)
        batches[name] = pickled(
            {"data": data, "labels": [label % 10 for label in range(each)], "batch_label": name}
        )
    batches["batches.meta"] = pickled({"label_names": list("abcdefghij"), "num_vis": 3072})
    return {f"cifar-10-batches-py/{name}": data for name, data in batches.items()}, images.transpose(
        0, 2, 3, 1
    )


def facts(content: dict[str, bytes], archive: Path, address: str) -> dict[str, object]:
    """What torchvision knows of CIFAR-10, of an archive that is published at an address."""
    md5 = {name.split("/")[1]: hashlib.md5(data).hexdigest() for name, data in content.items()}
    lists = {
        attribute: [[name, md5[name]] for name, _ in getattr(CIFAR10, attribute)]
        for attribute in ("train_list", "test_list")
    }
    return lists | {
        "meta": CIFAR10.meta | {"md5": md5["batches.meta"]},
        "url": f"{address}/{archive.name}",
        "tgz_md5": hashlib.md5(archive.read_bytes()).hexdigest(),
    }


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; the address."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
