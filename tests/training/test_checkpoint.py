"""An interrupted training resumes to the same bytes; damaged and foreign checkpoints are told apart."""

import dataclasses
import errno
import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from rlnas_core.labels.pretext import Rotation
from rlnas_core.labels.sources import FixedLabels, LabelSource, RedrawnLabels
from rlnas_core.machine.fingerprints import marks_of
from rlnas_core.spaces import get
from rlnas_core.training.checkpoint import Checkpoint, read_weights, remove_checkpoint, save_weights
from rlnas_core.training.loop import Run
from rlnas_core.training.supernet import SupernetSettings, train_supernet

SPACE = get("nas_bench_201")
SETTINGS = SupernetSettings(channels=8, cells=1, epochs=3, device="cpu")


class Stopping(LabelSource):
    """Labels that send the process a signal at one of their batches."""

    def __init__(self, labels, at, number=signal.SIGTERM):
        self.labels, self.at, self.number, self.calls = labels, at, number, 0
        self.name, self.categories = labels.name, labels.categories
        self.rng, self.pose = labels.rng, labels.pose
        self.identity = labels.identity

    def __call__(self, indices):
        if len(indices) == SETTINGS.batch_size:
            self.calls += 1
            if self.calls == self.at:
                signal.raise_signal(self.number)
        return self.labels(indices)


def labels_of(digits, method):
    data = digits[0]
    if method == "fixed":
        return FixedLabels(data.labels, 10)
    if method == "rotation":
        return Rotation(np.random.default_rng(0))
    return RedrawnLabels(method, data.labels, 10, np.random.default_rng(0))


def train(digits, labels, state, settings=SETTINGS, log=lambda line: None, seed=0):
    return train_supernet(SPACE, digits[0].images, labels, settings, seed, run=Run(log, checkpoint=state))


@pytest.mark.parametrize(
    ("method", "at", "gradient"),  # 3 is within the first epoch, 14 at the end of it, 20 within the second
    [
        ("fixed", 3, "zero"),
        ("fixed", 14, "absent"),
        ("shuffle-each-step", 14, "zero"),
        ("shuffle-each-step", 20, "absent"),
        ("rotation", 20, "zero"),
        ("rotation", 3, "absent"),
    ],
)
def test_training_stopped_by_sigterm_resumes_to_the_same_bytes(digits, tmp_path, method, at, gradient):
    settings = dataclasses.replace(SETTINGS, unsampled_gradient=gradient)
    model, undisturbed = train(digits, labels_of(digits, method), None, settings)
    state, lines = tmp_path / "checkpoints/one.safetensors", []
    with pytest.raises(SystemExit, match="143"):
        train(digits, Stopping(labels_of(digits, method), at), state, settings, lines.append)
    assert "stopped by SIGTERM; the checkpoint is at" in lines[-1]
    resumed_model, resumed = train(digits, labels_of(digits, method), state, settings, lines.append)
    assert any(line.startswith("resumes from") for line in lines)
    np.testing.assert_array_equal(resumed.operations, undisturbed.operations)
    np.testing.assert_array_equal(resumed.fixed, undisturbed.fixed)
    for own, other in zip(resumed_model.parameters(), model.parameters(), strict=True):
        assert torch.equal(own, other)
    # The last state stays until the caller has written the results.
    again_model, again = train(digits, labels_of(digits, method), state, settings, lines.append)
    assert "resumes from" in lines[-1]
    np.testing.assert_array_equal(again.operations, undisturbed.operations)
    assert all(map(torch.equal, again_model.parameters(), model.parameters()))
    remove_checkpoint(state)
    assert list(state.parent.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def interrupted(digits, tmp_path):
    state = tmp_path / "one.safetensors"
    with pytest.raises(SystemExit):
        train(digits, Stopping(labels_of(digits, "fixed"), 20), state)
    return state, Path(str(state) + ".before")


def test_a_checkpoint_that_cannot_be_read_at_present_stays(digits, tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise OSError(errno.ESTALE, "Stale file handle")

    interrupted(digits, tmp_path)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr("rlnas_core.training.checkpoint.safe_open", unreachable)
    with pytest.raises(OSError, match="Stale file handle"):
        train(digits, labels_of(digits, "fixed"), tmp_path / "one.safetensors")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("harm", ["truncated", "changed", "empty"])
def test_damaged_checkpoint_is_named_and_the_one_before_it_used(digits, tmp_path, harm):
    _, undisturbed = train(digits, labels_of(digits, "fixed"), None)
    state, before = interrupted(digits, tmp_path)
    content = bytearray(state.read_bytes())
    if harm == "changed":
        content[-5] ^= 1
    state.write_bytes({"truncated": content[:-100], "changed": content, "empty": b""}[harm])
    assert before.exists()
    lines = []
    _, resumed = train(digits, labels_of(digits, "fixed"), state, log=lines.append)
    assert any("is damaged" in line and "one.safetensors.damaged" in line for line in lines)
    assert any(f"resumes from {state}: epoch 2, step 1" in line for line in lines)
    np.testing.assert_array_equal(resumed.operations, undisturbed.operations)


@pytest.mark.parametrize("change", ["settings", "seed", "labels"])
def test_checkpoint_of_anything_else_starts_from_the_beginning_and_says_so(digits, tmp_path, change):
    state, _ = interrupted(digits, tmp_path)
    settings = dataclasses.replace(SETTINGS, learning_rate=0.01) if change == "settings" else SETTINGS
    labels = FixedLabels(digits[0].labels[::-1], 10) if change == "labels" else labels_of(digits, "fixed")
    lines = []
    _, statistics = train(digits, labels, state, settings, lines.append, seed=int(change == "seed"))
    assert any(
        "of other settings, inputs or code, which can resume from one.safetensors.other" in line
        and "starts from the beginning" in line
        for line in lines
    )
    assert not any(line.startswith("resumes") for line in lines)
    assert len(statistics.epochs) == 4


def test_the_checkpoint_before_one_of_other_settings_is_used(tmp_path):
    lines, path = [], tmp_path / "one.safetensors"
    for number, key in enumerate(("ours", "other")):
        Checkpoint(path, key, log=lines.append).save({"a": torch.zeros(2)}, {"n": number})
    assert Checkpoint(path, "ours", log=lines.append).restore()[1]["n"] == 0
    assert Checkpoint(path, "other", log=lines.append).restore()[1]["n"] == 1
    assert lines == []
    third = Checkpoint(path, "third", log=lines.append)
    assert third.restore() is None
    line = (
        f"the checkpoint {path} is of other settings, inputs or code, which can resume from "
        "one.safetensors.other until this training has finished; this one starts from the beginning"
    )
    assert lines == [line]
    for number in range(2, 5):
        third.save({"a": torch.zeros(2)}, {"n": number})
    assert Checkpoint(path, "other", log=lines.append).restore()[1]["n"] == 1
    assert Checkpoint(path, "third", log=lines.append).restore()[1]["n"] == 4
    assert lines == [line]
    remove_checkpoint(path)
    assert list(tmp_path.iterdir()) == []


def test_settings_can_change_back_and_forth_without_loss(tmp_path):
    """However often each has saved, and if several processes restore one after the other."""
    path, newest, number = tmp_path / "one.safetensors", {}, 0
    for key, saves in zip(("ours", "other") * 4, (2, 1, 3, 0, 1, 2, 0, 3), strict=True):
        for _ in range(2):
            checkpoint = Checkpoint(path, key, log=lambda line: None)
            restored = checkpoint.restore()
            assert (restored and restored[1]["n"]) == newest.get(key)
        for _ in range(saves):
            number += 1
            newest[key] = number
            checkpoint.save({"a": torch.zeros(2)}, {"n": number})


class Harmful:
    """An object that leaves a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_reading_a_checkpoint_runs_no_code(tmp_path):
    state, harm = tmp_path / "one.safetensors", tmp_path / "harm"
    torch.save(Harmful(harm), state)
    assert Checkpoint(state, "key", log=lambda line: None).restore() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.safetensors.damaged"]


@pytest.mark.parametrize(("save_every", "saved"), [(0, True), (600, False)])
def test_within_an_epoch_checkpoints_are_saved_at_the_interval_asked(digits, tmp_path, save_every, saved):
    state, seen = tmp_path / "one.safetensors", []

    class Watching(FixedLabels):
        def __call__(self, indices):
            seen.append(state.exists())
            return super().__call__(indices)

    labels, settings = Watching(digits[0].labels, 10), dataclasses.replace(SETTINGS, epochs=1)
    run = Run(lambda line: None, checkpoint=state, save_every=save_every)
    train_supernet(SPACE, digits[0].images, labels, settings, 0, run=run)
    assert seen == [False] + [saved] * (len(seen) - 1)
    assert state.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_full_disk_is_named_and_leaves_the_last_checkpoint(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(disk)], check=False).returncode:
        pytest.skip("a small disk can't be mounted here")
    try:
        checkpoint = Checkpoint(disk / "one.safetensors", "key", log=lambda line: None)
        checkpoint.save({"a": torch.zeros(1000)}, {"n": 1})
        with pytest.raises(OSError, match="No space left on device; the last one is kept"):
            checkpoint.save({"a": torch.zeros(200_000)}, {"n": 2})
        first = Checkpoint(disk / "two.safetensors", "key", log=lambda line: None)
        with pytest.raises(OSError, match=r"the checkpoint can't be saved: No space left.*; there is none"):
            first.save({"a": torch.zeros(200_000)}, {"n": 1})
        assert checkpoint.restore()[1]["n"] == 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_weights_say_what_made_them_and_have_the_same_bytes_each_time(tmp_path):
    model = torch.nn.Linear(3, 2)
    made_by = {"space": "darts", "seed": "0", "settings": dataclasses.asdict(SETTINGS)}
    for name in ("first", "second"):
        save_weights(model, tmp_path / name, **made_by)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    weights, read = read_weights(tmp_path / "first")
    assert torch.equal(weights["weight"], model.weight)
    assert read.pop("versions")["torch"] == torch.__version__.split("+")[0]
    assert read == json.loads(json.dumps(made_by))
    (tmp_path / "other").touch()
    assert (tmp_path / "first").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_files_are_known_by_size_and_time_of_change(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text("content")
    before = marks_of(paths)
    assert marks_of(paths) == before
    paths[1].write_text("another")
    os.utime(paths[1], (0, 0))
    assert [mark == old for mark, old in zip(marks_of(paths), before, strict=True)] == [True, False, True]
