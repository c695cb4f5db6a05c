# Checks before the first job: no other Snakemake runs in this directory, and the files of the user can be used
import re
import socket
from contextlib import suppress

from rlnas_core.configuration.checks import missing_files, unusable_files
from rlnas_core.machine.files import obstacles

# Snakemake's own lock outlives a killed Snakemake; a lock of the operating system doesn't. All processes of this workflow
# share one. A process that gets it exclusively knows that no other is running, and may remove the lock of a killed
# Snakemake. Hosts may not see each other's locks, so only the host that ran last does this.
if workflow.is_main_process and workflow.modifier.is_main_snakefile():
    with suppress(ImportError, OSError):
        import fcntl

        Path(".snakemake").mkdir(exist_ok=True)
        run_lock = open(".snakemake/rlnas.lock", "a+")  # the lock lasts as long as the process
        with suppress(BlockingIOError):
            fcntl.flock(run_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left = list(Path(".snakemake/locks").glob("*.lock"))
            run_lock.seek(0)
            if not left or run_lock.read() == socket.gethostname():
                if left:
                    logger.warning("A Snakemake that was killed had left its lock here; it is removed.")
                for lock in left:
                    lock.unlink()
                run_lock.truncate(0)
                print(socket.gethostname(), end="", file=run_lock, flush=True)
        fcntl.flock(run_lock, fcntl.LOCK_SH)


def in_paths(pattern, files):
    """What a pattern's group matches in the paths of this run's files, also with the prefix of a module."""
    found = (re.search(rf"(?:^|/){re.escape(RESULTS)}/{pattern}", file) for file in files)
    return {one[1] for one in found if one}


# A dry run works without the files that have to be fetched by hand; a real run stops before its first job.
onstart:
    jobs = list(workflow.dag.needrun_jobs())
    used, made = (
        {str(file) for job in jobs for file in getattr(job, kind)} for kind in ("input", "output")
    )
    read = {f"datasets.{name}" for name in in_paths(r"data/(\w+)/dataset.json", made)}
    read |= {f"transfer.{name}" for name in in_paths(r"transferred/\w+/(\w+)/", made)}
    read |= in_paths("(benchmark)/accuracies.csv", made)
    if missing := missing_files(config, read):
        raise WorkflowError("files are missing:\n  " + "\n  ".join(missing))
    folders = (re.match(rf"(?:.*/)?{re.escape(RESULTS)}(?=/)", file) for file in sorted(made))
    folder = next((found[0] for found in folders if found), RESULTS)  # with a module's prefix
    unusable = obstacles(Path(folder), sorted(map(Path, used)))
    try:
        needed = (in_paths(rf"data/(\w+)/{part}.npy", used) for part in (r"\w+_labels", "valid_images"))
        unusable += unusable_files(config, read, *needed, prepared=Path(folder, "data"))
        settings = [value for job in jobs for value in job.params if isinstance(value, dict)]
        # On a cluster, other machines may have the devices. Asking torch for devices takes seconds.
        asked = {value.get("device", "auto") for value in settings} - {"auto", "cpu"}
        if asked and workflow.local_exec:
            from rlnas_core.machine.devices import absent

            unusable += absent(asked)
    except ImportError:
        pass  # jobs have their own environment, and check again
    if unusable:
        raise WorkflowError("the run can't start:\n  " + "\n  ".join(unusable))


for name, reason in LEFT_OUT.items():
    logger.warning(f"{name} is left out: {reason}.")
