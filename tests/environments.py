"""What a conda environment lacks of all that is installed here, and jobs that are kept to it."""

import re
from importlib import metadata
from itertools import chain
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]

REFUSAL = """
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path


class Refusal(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {modules!r}:
            raise ModuleNotFoundError(f"{{name}} isn't in the environment of this rule")


if Path(sys.argv[0]).suffixes[-2:] and Path(sys.argv[0]).name.split(".")[-2] in {scripts!r}:
    sys.meta_path.insert(0, Refusal())
"""


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(names):
    """Installed packages by their normalised names: these, and what they ask for."""
    found, waiting = set(), {normalised(name) for name in names}
    while waiting:
        found |= waiting
        asked = map(Requirement, chain(*(metadata.requires(name) or [] for name in waiting)))
        wanted = {
            normalised(one.name) for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})
        }
        waiting = wanted - found
    return found


def lacking(environment):
    """Installed modules that an environment doesn't bring, and Snakemake for its scripts neither."""
    text = (ROOT / "envs" / environment).read_text()
    pins = yaml.safe_load(text)["dependencies"][-1]["pip"]
    present = requirements(["snakemake", *(pin.split(" ==")[0] for pin in pins)])
    return {
        module
        for module, owners in metadata.packages_distributions().items()
        if not {normalised(owner) for owner in owners} & present
    }


def scripts_in(environment):
    """The scripts of the rules that have an environment."""
    rules = "\n".join(file.read_text() for file in sorted((ROOT / "rules").glob("*.smk")))
    bodies = re.findall(r"^(?:use )?rule .+:\n((?:    .*\n|\n)+)", rules, re.MULTILINE)
    script = re.compile(r"workflow_scripts/(\w+)\.py")
    return {script.search(body)[1] for body in bodies if f"envs/{environment}" in body}


def keep_to(environment, folder):
    """Write a module into a folder that, on PYTHONPATH, keeps an environment's jobs to what it brings."""
    text = REFUSAL.format(modules=lacking(environment), scripts=scripts_in(environment))
    (folder / "sitecustomize.py").write_text(text)
