"""A SLURM of one node, for tests: munged, slurmctld and slurmd on loopback, everything else in one folder."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from unittest import mock

PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo"]
# The node claims more than it has, and a GPU that is none. Jobs in `urgent` preempt others, which
# start again after `cred_expire` seconds.
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=32000 Gres=gpu:1
PartitionName=work Nodes=ALL Default=YES PriorityTier=1
PartitionName=urgent Nodes=ALL PriorityTier=2
"""


def missing():
    """What keeps SLURM from starting here, or nothing."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return (
            f"no SLURM here: {', '.join(absent)} not found (Debian: slurmctld, slurmd, slurm-client, munge)"
        )
    return "" if os.geteuid() == 0 else "only root can start a SLURM whose jobs run"


def ask(*command, check=True):
    """What a SLURM command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=check).stdout


def until(true, what, seconds=60):
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not (result := true()):
        assert time.monotonic() < end, f"waited {seconds} seconds for {what}"
        time.sleep(0.2)
    return result


def unused_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def running(folder):
    """SLURM within the context; its commands find it by the environment."""
    host = socket.gethostname().split(".")[0]
    files = {
        "slurm.conf": CONFIGURATION.format(folder=folder, host=host, ports=unused_ports(2)),
        "gres.conf": "Name=gpu File=/dev/null\n",
        "munge.key": secrets.token_hex(64),
        # Within a job the executor calls srun without the variables of SLURM, SLURM_CONF among them.
        "srun": f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n',
    }
    for name, content in files.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o500)
    environment = {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{folder}:{os.environ['PATH']}"}
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    with mock.patch.dict(os.environ, environment), ExitStack() as stack:
        stack.enter_context(
            daemon("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge)
        )
        until((folder / "munge.socket").exists, "munged")
        stack.enter_context(daemon("slurmctld", "-D"))
        stack.enter_context(daemon("slurmd", "-D"))
        until(lambda: "idle" in ask("sinfo", "-h", "-o", "%T", check=False), "slurmd")
        stack.callback(until, lambda: not ask("squeue", "-h"), "the end of all jobs")
        stack.callback(ask, "scancel", "--user", "root")
        yield


@contextmanager
def daemon(*command):
    """A program that runs within the context; its own log says what it did."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)
