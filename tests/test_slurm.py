"""The workflow on a real SLURM: the same bytes as on one machine, whatever the cluster stops on the way."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import slurm
import yaml
from workflow import ROOT, TINY, of_this_workflow

PROFILE = ROOT / "profiles/slurm"
# Two trainings that are long enough to be stopped, one after the other since the node has one GPU; and too
# little memory to prepare the images in.
CONFIG = TINY | {
    "seeds": {labels: [] for labels in TINY["seeds"]} | {"uniform-once": [0, 1]},
    "validation": {"seeds": []},
    "figure1": {"categories": [], "seeds": []},
    "large_spaces": {},
    "retraining": {},
    "transfer": {},
    "supernet": TINY["supernet"] | {"epochs": 150},
    "jobs": {"data": {"mem_mb": 600}, "supernet": {"mem_mb": 2000, "gpus": 1}},
}
TARGETS = [f"results/tiny/tables/table{number}.csv" for number in (1, 6)]
POLLING = """
import asyncio, sys
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

async def sleep(self):
    await asyncio.sleep(1)

RemoteExecutor.sleep = sleep
from snakemake.cli import main
main(sys.argv[1:])
"""
FOLDERS = ("scores", "searches", "supernets", "tables")
TRAINING = "nas_bench_201/digits/uniform-once/10/{seed}"


def disturb(results, stopped):
    """Cancel the training that runs first; let a more urgent job take the GPU from the other one."""
    logs = {seed: results / f"logs/train_supernet/{TRAINING.format(seed=seed)}.log" for seed in "01"}

    def on_its_way():
        for seed in logs.keys() - stopped.keys():
            if logs[seed].exists() and "epoch 3/" in logs[seed].read_text():
                return seed
        return None

    for way in ("cancelled", "preempted"):
        seed = slurm.until(on_its_way, "a training that can be stopped", 600)
        comments = slurm.ask("squeue", "-h", "-t", "RUNNING", "-o", "%i|%k").splitlines()
        name = f"rule_train_supernet_wildcards_{TRAINING.format(seed=seed).replace('/', '_')}"
        [job] = [line.split("|")[0] for line in comments if line.endswith(name)]
        stopped[seed] = (way, slurm.ask("scontrol", "show", "job", job))
        if way == "cancelled":
            slurm.ask("scancel", job)
        else:
            slurm.ask("sbatch", "-p", "urgent", "--gpus", "1", "-o", "/dev/null", "--wrap", "sleep 1")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A disturbed run on SLURM and an undisturbed local one: directories, stopped trainings, output."""
    if reason := slurm.missing():
        pytest.skip(reason)
    cluster, local, folder = (tmp_path_factory.mktemp(name) for name in ("cluster", "local", "slurm"))
    stopped = {}
    with slurm.running(folder), ThreadPoolExecutor() as pool:
        disturbed = pool.submit(disturb, cluster / "results/tiny", stopped)
        undisturbed = pool.submit(of_this_workflow, local, *TARGETS, config=CONFIG)
        output = of_this_workflow(
            cluster,
            *TARGETS,
            *("--profile", str(PROFILE)),
            *("--slurm-init-seconds-before-status-checks", "1", "--slurm-status-command", "squeue"),
            config=CONFIG,
            start=("-c", POLLING),
        )
        disturbed.result()
        undisturbed.result()
    return cluster, local, stopped, output


def test_slurm_gives_the_same_bytes_as_a_local_run(run):
    cluster, local, *_ = run
    made = [
        path.relative_to(local)
        for folder in FOLDERS
        for path in (local / "results/tiny" / folder).rglob("*")
        if path.is_file()
    ]
    assert {path.parts[2] for path in made} == set(FOLDERS)
    assert [str(path) for path in made if (cluster / path).read_bytes() != (local / path).read_bytes()] == []


@pytest.mark.parametrize("way", ["cancelled", "preempted"])
def test_a_stopped_training_resumes_from_its_checkpoint(run, way):
    directory, _, stopped, output = run
    [seed] = [seed for seed in stopped if stopped[seed][0] == way]
    log = directory / f"results/tiny/logs/train_supernet/{TRAINING.format(seed=seed)}.log"
    assert "resumes from" in log.read_text()
    # A cancelled job failed, and the workflow submits it again; a preempted one is SLURM's to start again.
    name = TRAINING.format(seed=seed).replace("/", "_")
    submitted = re.findall(rf"has been submitted with SLURM jobid \d+ .*/rule_train_supernet/{name}/", output)
    assert len(submitted) == (2 if way == "cancelled" else 1)


def test_trainings_ask_for_a_gpu_on_one_node(run):
    for _, job in run[2].values():
        assert "TresPerJob=gres:gpu:1" in job
        assert "NumNodes=1" in job
        assert "NumTasks=1" in job


def test_a_job_that_needs_more_memory_is_tried_again_with_more(run):
    directory, *_, output = run
    asked = re.findall(r"^rule prepare_dataset:\n(?:    .*\n)*?    resources: .*?mem_mb=(\d+)", output, re.M)
    assert asked == [str(600 * attempt) for attempt in range(1, len(asked) + 1)]
    assert len(asked) > 1
    logs = list((directory / ".snakemake/slurm_logs/rule_prepare_dataset").rglob("*.log"))
    assert len(logs) == len(asked) - 1  # of those that failed
    assert all("exceeded memory limit" in log.read_text() for log in logs)


def test_small_jobs_share_a_job_of_the_cluster(run):
    """Both files of labels are one job, all tables another."""
    for group in ("labels", "tables"):
        assert len(re.findall(rf"^\[.*\] Group job {group} ", run[3], re.M)) == 1


def test_the_profile_groups_rules_that_there_are():
    rules = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    named = set(re.findall(r"^rule (\w+):|^use rule \w+ as (\w+)", rules, re.M))
    profile = yaml.safe_load((PROFILE / "config.yaml").read_text())
    assert set(profile["groups"]) <= {name for pair in named for name in pair}
    assert set(profile["groups"].values()) == set(profile["group-components"])


def test_the_profile_plans_the_papers_run(tmp_path):
    """No group is left and entered again, which Snakemake refuses."""
    plan = of_this_workflow(tmp_path, "--dry-run", "--profile", str(PROFILE))
    assert re.search(r"^add_ranks +\d+$", plan, re.MULTILINE)
