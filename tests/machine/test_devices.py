"""Jobs and the devices of one machine: real processes, and three GPUs that torch is told of by its driver."""

import multiprocessing
import os
import signal
import tempfile
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import torch

from rlnas_core.machine import devices

UUIDS = [f"GPU-{letter * 8}-0000-0000-0000-000000000000" for letter in "abc"]
A, B, C = (uuid.removeprefix("GPU-") for uuid in UUIDS)
PATIENCE = 60  # seconds after which a process that should have ended is taken to wait for ever
PROCESSES = multiprocessing.get_context("forkserver")  # imports torch once for all processes
PROCESSES.set_forkserver_preload(["torch"])


def put_in(folder, visible=None, gpus=3, set_attribute=setattr):
    """Put this process on a machine of three GPUs. Torch itself reads CUDA_VISIBLE_DEVICES."""
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible

    def properties(index):
        return SimpleNamespace(uuid=UUIDS[torch.cuda._get_nvml_device_index(index)].removeprefix("GPU-"))

    set_attribute(tempfile, "tempdir", str(folder))
    set_attribute(devices, "_PAUSE", 0.02)
    set_attribute(torch.cuda, "_raw_device_count_nvml", lambda: gpus)
    set_attribute(torch.cuda, "_raw_device_uuid_nvml", lambda: UUIDS[:gpus])
    set_attribute(torch.cuda, "device_count", torch.cuda._device_count_nvml)
    set_attribute(torch.cuda, "is_available", lambda: torch.cuda.device_count() > 0)
    set_attribute(torch.cuda, "get_device_properties", properties)
    set_attribute(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function that puts this process on a machine with given CUDA_VISIBLE_DEVICES and number of GPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that it is put back at the end
    return lambda visible=None, gpus=3: put_in(tmp_path, visible, gpus, monkeypatch.setattr)


def contend(folder, count, share, start, holders, peaks, served):
    """Reserve devices twice, and note how many processes have each at once."""
    put_in(folder)
    start.wait()
    for _ in range(2):
        with devices.reserve("auto", count, share, log=lambda line: None) as reserved:
            indices = {device.index for device in reserved}
            assert len(indices) == len(reserved) == count
            with holders.get_lock():
                for index in indices:
                    holders[index] += 1
                    peaks[index] = max(peaks[index], holders[index])
            time.sleep(0.05)
            with holders.get_lock():
                for index in indices:
                    holders[index] -= 1
        with served.get_lock():
            served.value += 1


@pytest.mark.parametrize(
    ("counts", "share"),
    [([1] * 8, 1), ([1] * 8, 2), ([2] * 6 + [1, 3], 1)],
    ids=["one each", "two jobs a device", "several devices each"],
)
def test_all_processes_are_served_and_no_device_has_too_many(tmp_path, counts, share):
    start = PROCESSES.Barrier(len(counts))
    holders, peaks, served = PROCESSES.Array("i", 3), PROCESSES.Array("i", 3), PROCESSES.Value("i")
    contenders = [
        PROCESSES.Process(target=contend, args=(tmp_path, count, share, start, holders, peaks, served))
        for count in counts
    ]
    for process in contenders:
        process.start()
    try:
        for process in contenders:
            process.join(PATIENCE)
        assert [process.exitcode for process in contenders] == [0] * len(counts)
    finally:
        for process in contenders:
            process.kill()
    assert served.value == 2 * len(counts)
    assert all(1 <= peak <= share for peak in peaks), list(peaks)


def start_at_once(folder, together, lines):
    put_in(folder)
    for turn in range(20):
        together.wait()
        with devices.reserve("cuda", share=2, log=lambda line, turn=turn: lines.put((turn, line))):
            together.wait()


def test_jobs_that_start_at_once_do_not_take_each_others_look_for_a_job(tmp_path):
    together, lines = PROCESSES.Barrier(3, timeout=PATIENCE), PROCESSES.Queue()
    jobs = [PROCESSES.Process(target=start_at_once, args=(tmp_path, together, lines)) for _ in range(3)]
    for process in jobs:
        process.start()
    said = sorted(lines.get(timeout=PATIENCE) for _ in range(60))
    each = [f"reserved cuda:{index} ({uuid})" for index, uuid in enumerate((A, B, C))]
    assert said == [(turn, line) for turn in range(20) for line in each]
    for process in jobs:
        process.join(PATIENCE)


def hold_until_told(folder, visible, count, lines, told):
    put_in(folder, visible)
    with devices.reserve("cuda", count, log=lines.put) as reserved:
        lines.put([str(device) for device in reserved])
        told.wait()


@pytest.fixture
def holder(tmp_path):
    """A function that starts a process holding devices: it, what it logs and then has, what lets it go."""
    with ExitStack() as stack:

        def start(visible=None, count=1):
            lines, told = PROCESSES.Queue(), PROCESSES.Event()
            process = PROCESSES.Process(target=hold_until_told, args=(tmp_path, visible, count, lines, told))
            process.start()
            stack.callback(process.kill)
            return process, lines, told

        yield start


def test_a_killed_process_frees_its_devices(holder):
    process, lines, _ = holder(count=3)
    assert lines.get(timeout=PATIENCE).startswith("reserved cuda:0")
    _, lines, _ = holder(count=3)
    assert lines.get(timeout=PATIENCE).startswith("waits for 3 of ")
    os.kill(process.pid, signal.SIGKILL)
    assert lines.get(timeout=PATIENCE).startswith("reserved cuda:0")


def test_a_job_says_what_it_waits_for_and_what_it_got(holder, tmp_path):
    _, lines, told = holder("1")
    assert lines.get(timeout=PATIENCE) == f"reserved cuda:0 ({B})"
    assert lines.get(timeout=PATIENCE) == ["cuda:0"]
    _, lines, _ = holder("GPU-b")
    line = lines.get(timeout=PATIENCE)
    assert line.startswith(f"waits for 1 of cuda:0 ({B}): ")
    assert str(tmp_path) in line
    time.sleep(0.2)
    assert lines.empty()
    told.set()
    assert lines.get(timeout=PATIENCE) == f"reserved cuda:0 ({B})"


def test_processes_with_other_lists_of_devices_agree_on_what_is_in_use(holder, machine):
    _, lines, _ = holder("1,0", count=2)
    assert lines.get(timeout=PATIENCE) == f"reserved cuda:0 ({B}), cuda:1 ({A})"
    machine("GPU-b,GPU-a,GPU-c")
    with devices.reserve("cuda") as reserved:
        assert reserved == [torch.device("cuda", 2)]


@pytest.mark.parametrize(
    ("visible", "identities"),
    [
        (None, [A, B, C]),
        ("2,0", [C, A]),
        ("1, 2", [B, C]),
        ("GPU-c,GPU-a", [C, A]),
        ("0,7,1", [A]),
        ("", []),
    ],
)
def test_visible_devices_are_those_that_the_user_lists(machine, visible, identities):
    machine(visible)
    found = devices.available("cuda")
    assert list(found) == [torch.device("cuda", index) for index in range(len(identities))]
    assert list(found.values()) == identities


def test_a_part_of_a_gpu_is_known_by_its_own_name(machine, monkeypatch):
    machine("MIG-GPU-aaaaaaaa/3/0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with devices.reserve("cuda") as reserved:
        assert reserved == [torch.device("cuda", 0)]
    assert devices.available("cuda") == {torch.device("cuda", 0): "MIG-GPU-aaaaaaaa_3_0"}


@pytest.mark.parametrize("visible", [None, "2,0,1", "GPU-b,GPU-c,GPU-a"])
def test_children_see_the_devices_that_their_parent_reserved(machine, visible):
    machine(visible)
    seen = devices.available("cuda")
    with devices.reserve("cuda"), devices.reserve("cuda", 2) as reserved:
        assert reserved == [torch.device("cuda", 1), torch.device("cuda", 2)]
        environment = devices.environment(reserved)
    machine(environment["CUDA_VISIBLE_DEVICES"])
    assert list(devices.available("cuda").values()) == [seen[device] for device in reserved]


def test_children_of_a_job_on_the_cpu_get_its_environment():
    with devices.reserve("cpu", 2) as reserved:
        assert reserved == [torch.device("cpu")] * 2
        assert devices.environment(reserved) == os.environ


def test_jobs_that_share_devices_spread_evenly(machine):
    machine()
    with ExitStack() as stack:
        taken = [stack.enter_context(devices.reserve("auto", share=2))[0].index for _ in range(4)]
        assert taken == [0, 1, 2, 0]
        assert stack.enter_context(devices.reserve("auto", 2, share=2)) == [
            torch.device("cuda", 1),
            torch.device("cuda", 2),
        ]


def test_a_device_is_free_again_when_its_job_fails(machine):
    machine(gpus=1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), devices.reserve("cuda"):
            raise ZeroDivisionError


def test_auto_falls_back_to_the_cpu_and_the_log_says_so(machine):
    machine(gpus=0)
    lines = []
    with devices.reserve(log=lines.append) as reserved:
        assert reserved == [torch.device("cpu")]
    assert lines == ["device is auto and there is no GPU: this job runs on the CPU"]


def test_devices_that_are_not_there_are_named(machine):
    machine(visible="", gpus=0)
    assert devices.absent(["auto", "cpu"]) == []
    (line,) = devices.absent(["cuda", "auto", "cuda"])
    assert line.startswith("device: got cuda, and there is none (CUDA_VISIBLE_DEVICES: )")
    machine(gpus=1)
    assert devices.absent(["cuda"]) == []


def test_auto_takes_mps_where_there_is_no_cuda(machine, monkeypatch):
    machine(gpus=0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with devices.reserve() as reserved:
        assert reserved == [torch.device("mps", 0)]
        assert devices.environment(reserved) == os.environ


@pytest.mark.parametrize(
    ("name", "count", "gpus", "message"),
    [
        ("cuda", 1, 0, r"asks for 1 cuda device and 0 can be seen \(CUDA_VISIBLE_DEVICES: not set\)"),
        ("auto", 4, 3, "asks for 4 cuda devices and 3 can be seen"),
        ("mps", 1, 3, "asks for 1 mps device and 0 can be seen"),
    ],
)
def test_asking_for_devices_that_are_not_there_is_an_error(machine, name, count, gpus, message):
    machine(gpus=gpus)
    with pytest.raises(devices.DeviceError, match=message), devices.reserve(name, count):
        pass


@pytest.mark.parametrize("arguments", [("gpu",), ("cuda", 0), ("cuda", 1, 0)])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="accepted"), devices.reserve(*arguments):
        pass
