"""Checkpoints of unfinished trainings, from which they resume, and weights of finished ones."""

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor, nn

from rlnas_core import __version__
from rlnas_core.machine.files import reading

State = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors by name, and JSON data."""


class Checkpoint:
    """The last two checkpoints of a long job, with a key of everything that its result depends on.

    With `path` None nothing is saved. Checkpoints are saved `every` so many seconds and when the process is
    asked to stop (SIGTERM, SIGINT). The newest one of another key, which they would overwrite, is kept until
    the training has finished. They are safetensors files, so reading one can't run code.
    """

    def __init__(
        self, path: str | Path | None, key: str, *, every: float = 600, log: Callable[[str], None] = print
    ) -> None:
        self.path, self.key, self.every, self.log = (Path(path) if path else None), key, every, log
        self.signalled: int | None = None
        self._saved = time.monotonic()

    def restore(self) -> State | None:
        """The newest valid checkpoint of this key, or None; moves others and damaged ones aside.

        Raises OSError if one can't be read at present.
        """
        foreign = None
        files = self._files()
        for path in files:
            if not path.exists():
                continue
            try:
                tensors, meta = _read(path)
            except (SafetensorError, ValueError, KeyError) as error:
                aside = path.with_name(path.name + ".damaged")
                path.replace(aside)
                self.log(f"the checkpoint {path} is damaged ({error}); moved to {aside.name}")
                continue
            if meta["key"] == self.key:
                if foreign:  # newer: what this training saves would overwrite it
                    last, before, kept = files
                    path.replace(before if foreign == last else last)
                    foreign.replace(kept)
                return tensors, meta
            foreign = foreign or path
        if foreign:
            _, before, kept = files
            foreign.replace(kept)
            before.unlink(missing_ok=True)  # it is older
            self.log(
                f"the checkpoint {foreign} is of other settings, inputs or code, which can resume from "
                f"{kept.name} until this training has finished; this one starts from the beginning"
            )
        return None

    def due(self) -> bool:
        """Whether it is time to save: `every` seconds have passed, or the process was asked to stop."""
        return self.path is not None and (
            self.signalled is not None or time.monotonic() - self._saved > self.every
        )

    def save(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Save a checkpoint; the file appears whole, and the last one stays until then."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        text = json.dumps({**meta, "key": self.key})
        content = save(tensors, {"state": text, "digest": _digest(tensors, text)})
        last, before, _ = self._files()
        new = last.with_name(last.name + ".new")
        try:
            with new.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            new.unlink(missing_ok=True)
            kept = "the last one is kept" if last.exists() else "there is none before it"
            raise OSError(
                error.errno, f"the checkpoint can't be saved: {error.strerror}; {kept}", str(last)
            ) from error
        if last.exists():
            last.replace(before)
        new.replace(last)
        self._saved = time.monotonic()

    def stop_if_asked(self) -> None:
        """Raise SystemExit, or KeyboardInterrupt for SIGINT, if the process was asked to stop."""
        if self.signalled is None:
            return
        name = signal.Signals(self.signalled).name
        self.log(f"stopped by {name}; the checkpoint is at {self.path}, the same command resumes from it")
        if self.signalled == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.signalled)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within the context, record a request to stop instead of stopping at once."""
        # Only the main thread receives signals.
        if self.path is None or threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: Any) -> None:
            self.signalled = number

        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _files(self) -> list[Path]:
        """The last one, the one before it, and the one of another key."""
        return [] if self.path is None else [Path(f"{self.path}{end}") for end in ("", ".before", ".other")]


def remove_checkpoint(path: str | Path) -> None:
    """Remove the checkpoints of a finished training, also a partly written one."""
    for end in ("", ".before", ".other", ".new", ".damaged", ".before.damaged", ".other.damaged"):
        Path(f"{path}{end}").unlink(missing_ok=True)


def save_weights(model: nn.Module, path: str | Path, /, **made_by: Any) -> None:
    """Write a model's weights, with their provenance `made_by` (JSON data) and the versions used."""
    # `save_model` would refuse the weights of a `StaticSupernet`, which are parts of larger tensors.
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    # One entry, since safetensors writes several in arbitrary order.
    made = {"made_by": json.dumps({**made_by, "versions": versions()}, sort_keys=True)}
    save_file(weights, str(path), made)
    # safetensors makes the file readable by its owner alone; give it the usual permissions.
    mask = os.umask(0)
    os.umask(mask)
    Path(path).chmod(0o666 & ~mask)


def versions() -> dict[str, str]:
    """The versions of the packages that a training's result depends on."""
    found = {name: version(name) for name in ("torch", "torchvision", "pillow", "numpy")}
    return found | {"rlnas-core": __version__}


def read_weights(path: str | Path) -> State:
    """Weights that `save_weights` wrote and their provenance, which is empty for other safetensors files.

    Raises ValueError with the file's name for a damaged one.
    """
    with reading(path):
        weights, metadata = _open(path)
        return weights, json.loads(metadata.get("made_by", "{}"))


def generator_states(generators: Sequence[np.random.Generator | None]) -> list[Any]:
    """States of NumPy's generators as JSON data."""
    return [None if generator is None else generator.bit_generator.state for generator in generators]


def set_generators(generators: Sequence[np.random.Generator | None], states: Sequence[Any]) -> None:
    """Set NumPy's generators to states that `generator_states` returned."""
    for generator, state in zip(generators, states, strict=True):
        if generator is not None:
            generator.bit_generator.state = state


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _open(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(str(path), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
        return tensors, file.metadata() or {}


def _read(path: Path) -> State:
    tensors, metadata = _open(path)
    if _digest(tensors, metadata["state"]) != metadata["digest"]:
        raise ValueError("its content doesn't match its digest")
    return tensors, json.loads(metadata["state"])
