"""What the files of the repository promise each other."""

import json
import os
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import snakemake
import yaml

from rlnas_core import __version__
from rlnas_core.configuration.reference import MARK, reference
from rlnas_core.labels.methods import METHODS, PRETEXT_TASKS
from rlnas_core.machine.downloads import DOWNLOADS
from rlnas_core.paper.numbers import PAPER
from rlnas_core.training.standalone import RetrainingSettings
from rlnas_core.training.supernet import SupernetSettings
from rlnas_core.transfer.detection import DetectionSettings
from rlnas_core.transfer.segmentation import SegmentationSettings

ROOT = Path(__file__).parents[1]
SCHEMA_FILE = ROOT / "config/schemas/config.schema.yaml"
SCHEMA = yaml.safe_load(SCHEMA_FILE.read_text())
RULE_FILES = sorted((ROOT / "rules").glob("*.smk"))
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
DIRECTIVES = ["input", "output", "params", "log", "benchmark", "threads", "resources", "conda", "script"]


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def lock():
    lines = (ROOT / "requirements.txt").read_text().split()
    return {normalised(name): version for name, version in (line.split("==") for line in lines)}


def rules():
    for file in RULE_FILES:
        for match in re.finditer(
            r"^(?:use )?rule (?:\w+ as )?(\w+)(?: with)?:\n((?:    .*\n|\n)+)", file.read_text(), re.MULTILINE
        ):
            yield match[1], re.findall(r"^    (\w+):", match[2], re.MULTILINE), match[0].startswith("use ")


@pytest.mark.parametrize(
    ("name", "directives", "derived"), [pytest.param(*rule, id=rule[0]) for rule in rules()]
)
def test_rules_are_complete_and_in_one_order(name, directives, derived):
    if "output" not in directives:
        return  # a name for the files of other rules
    needed = {"output", "log", "benchmark"} | (
        set() if derived else {"threads", "resources", "conda", "script"}
    )
    assert needed <= set(directives)
    assert [entry for entry in DIRECTIVES if entry in directives] == [
        d for d in directives if d in DIRECTIVES
    ]


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
def test_conda_environments_pin_what_the_lock_pins(path):
    packages = yaml.safe_load(path.read_text())["dependencies"][-1]["pip"]
    pins = dict(package.split(" ==") for package in packages)
    assert pins == {name: lock()[normalised(name)] for name in pins}


def test_the_lock_has_all_that_the_package_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    assert {normalised(re.split(r"[>=<\[]", name)[0]) for name in asked} <= set(lock())


def test_the_configurations_reference_is_that_of_the_schema():
    """`make docs` generates it."""
    written = (ROOT / "config/README.md").read_text().partition(MARK)[2]
    assert written == "\n" + reference(SCHEMA)


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ({"default": [0, 1]}, "- `key` (default: `[0, 1]`): What."),
        ({"default": None}, "- `key` (default: `null`): What."),
        ({"default": "auto"}, "- `key` (default: `auto`): What."),
        ({"default": {}}, "- `key` (default: `{}`): What."),
        ({"default": {"a": True}}, "- `key` (default: `{a: true}`): What."),
        ({}, "- `key` (required): What."),
    ],
)
def test_the_reference_shows_defaults_as_yaml(key, line):
    assert reference({"properties": {"key": {"description": "What.", **key}}}) == f"{line}\n"


def test_the_reference_marks_required_keys():
    required = re.findall(r"^ *required: \[(.+)\]$", SCHEMA_FILE.read_text(), re.MULTILINE)
    marked = re.findall(r"^- `(\w+)` \(required\)", (ROOT / "config/README.md").read_text(), re.MULTILINE)
    assert {*marked, "datasets"} == set(", ".join(required).split(", "))  # datasets has a section


def defaults(*path):
    entry = SCHEMA["$defs"]
    for name in path:
        entry = entry[name]
    return {name: key.get("default") for name, key in entry["properties"].items()}


def test_settings_and_schema_have_the_same_defaults():
    supernet = defaults("supernet")
    assert supernet == {name: getattr(SupernetSettings(), name) for name in supernet}
    network = defaults("retrained_space", "additionalProperties", "properties", "network")
    assert network.pop("channels") is None  # the architecture's own
    assert network == {name: getattr(RetrainingSettings(), name) for name in network}
    for scenes, settings in (("coco", DetectionSettings()), ("cityscapes", SegmentationSettings())):
        training = SCHEMA["properties"]["transfer"]["properties"][scenes]["properties"]["training"]
        for name, key in training["properties"].items():
            default = getattr(settings, name)
            assert key["default"] == (list(default) if isinstance(default, tuple) else default), name


def test_searches_can_name_every_proxy_and_sum_of_ranks():
    schema = SCHEMA["properties"]
    rankings = PAPER["rankings"]
    assert schema["proxies"]["properties"]["names"]["items"]["enum"] == list(rankings["proxies"])
    assert schema["indicator"]["enum"] == ["angle", *rankings["proxies"], *rankings["rank_sums"]]


def test_seeds_are_of_every_label_method_and_of_untrained_supernets():
    names = SCHEMA["properties"]["seeds"]["properties"]
    seeds = [name for name in names if not name.startswith("untrained-")]
    assert sorted(seeds) == sorted([*METHODS, *PRETEXT_TASKS])


WITHOUT_TORCH = (
    "benchmark.accuracies",
    "benchmark.ranking",
    "configuration.checks",
    "labels.methods",
    "labels.sources",
    "paper.figures",
    "paper.tables",
    "search.angle",
    "search.evolution",
    "search.optimum",
)


def test_torch_is_not_loaded_where_nothing_trains():
    code = f"""
import sys
from importlib import import_module
for module in {WITHOUT_TORCH}:
    import_module("rlnas_core." + module)
    assert "torch" not in sys.modules, module
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_benchmarks_find_the_library_from_anywhere(tmp_path):
    paths = sorted(map(str, (ROOT / "benchmarks").glob("*.py")))
    for path in paths:
        before, imports, _ = Path(path).read_text().partition("\nfrom rlnas_core")
        assert not imports or "sys.path.insert(0, str(Path(__file__).resolve().parents[1]))" in before, path
    code = f"import runpy\nfor path in {paths}: runpy.run_path(path)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


FLOORS = (
    *("machine", "spaces", "networks", "kernels", "images", "labels", "benchmark", "training", "search"),
    *("transfer", "paper", "model", "configuration"),
)


def test_packages_import_only_those_before_them():
    """As docs/library.md lists them."""
    listed = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/library.md").read_text(), re.MULTILINE)
    assert tuple(listed) == FLOORS
    for floor, package in enumerate(FLOORS):
        for path in (ROOT / "rlnas_core" / package).glob("*.py"):
            names = re.findall(r"^from rlnas_core\.(\w+)", path.read_text(), re.MULTILINE)
            assert set(names) <= set(FLOORS[: floor + 1]), path


def test_no_module_of_the_library_is_longer_than_400_lines():
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / "rlnas_core").rglob("*.py")}
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_no_layer_is_changed_from_outside():
    changed = r"\bsetattr\(|\.__class__ = |\b(model|network|module|dropout)\.\w+ = "
    for path in (ROOT / "rlnas_core").rglob("*.py"):
        assert not re.search(changed, path.read_text()), path


def test_the_library_never_imports_snakemake():
    for path in (ROOT / "rlnas_core").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) snakemake", path.read_text(), re.MULTILINE), path


def test_the_version_is_the_same_everywhere():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert (ROOT / "CHANGELOG.md").read_text().split("## ")[1].startswith(__version__)


def test_the_workflow_catalog_finds_what_it_shows():
    """As its generate-catalog.py reads a repository."""
    assert (ROOT / "Snakefile").exists()
    assert not (ROOT / "workflow").exists()  # Snakefile and rules would have to be in it
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme
    assert "workflow" in readme
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"software-stack-deployment", "report"}
    assert set(usage["software-stack-deployment"]) <= {"conda", "apptainer", "apptainer+conda"}
    assert (ROOT / "config/README.md").exists()
    table = json.loads(json.dumps(SCHEMA))["properties"]  # its parameter table
    assert [name for name, key in table.items() if not key.get("description")] == []
    assert not re.search(r"description: \"[^\"]*\|", SCHEMA_FILE.read_text())  # cells of that table


CATALOG = """
import sys
absent = ["matplotlib", "PIL", "scipy", "sklearn", "safetensors", "torch", "torchvision"]
sys.modules.update(dict.fromkeys(absent))
from snakemake.cli import main
main(["--lint"])
"""


def test_the_workflow_catalog_can_lint_it():
    """It has Snakemake, NumPy and pandas, but nothing else that the jobs need."""
    linted = subprocess.run([sys.executable, "-c", CATALOG], cwd=ROOT, capture_output=True, text=True)
    assert linted.returncode == 0, linted.stderr
    assert "good condition" in linted.stderr


def test_links_between_documents_lead_somewhere():
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "config/README.md"]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_documented_commands_name_their_targets_before_options_that_would_take_them():
    commands = []
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for block in re.findall(r"^```sh\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE):
            commands += block.replace("\\\n", " ").splitlines()
    taken = re.compile(r"--(configfile|config|forcerun)(\s+(?!--)\S+)*\s+results/\S+(?<!\.yaml)(\s|$)")
    assert len(commands) > 30
    assert [line for line in commands if taken.search(line)] == []


def test_what_can_not_be_downloaded_is_listed_with_its_home_page():
    text = (ROOT / "docs/reproducing.md").read_text()
    for download in DOWNLOADS.values():
        assert f"<{download.home}>" in text
        assert f"| {download.size} | {download.license} |" in text


CONDA = """#!/bin/sh
case $1 in
    info) echo '{"platform": "linux-64", "conda_prefix": "/conda"}' ;;
    config) echo '{"get": {"channel_priority": "strict"}}' ;;
    *) echo conda 26.1.0 ;;
esac
"""


def test_the_dockerfile_is_what_snakemake_makes_of_the_environments(tmp_path):
    """Snakemake only asks the machine's conda what it is, so that one which says so will do."""
    conda = tmp_path / "conda"
    conda.write_text(CONDA)
    conda.chmod(0o755)
    command = [sys.executable, "-m", "snakemake", "--configfile", "config/demo.yaml"]
    dockerfile = subprocess.run(
        [*command, "--containerize", "dockerfile"],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        cwd=ROOT,
        check=True,
    ).stdout
    sources = re.findall(r"^#   source: envs/(.+)$", dockerfile, re.MULTILINE)
    assert sources == [path.name for path in ENVIRONMENTS]
    assert dockerfile.count("conda env create") == len(ENVIRONMENTS)
    assert (ROOT / "Dockerfile").read_text() == dockerfile


def test_messages_that_are_explained_are_those_of_the_code():
    table = (ROOT / "docs/operating.md").read_text().split("## Messages")[1]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    files = chain(
        (ROOT / "rlnas_core").rglob("*.py"), RULE_FILES, Path(snakemake.__file__).parent.rglob("*.py")
    )
    code = re.sub(r'"\s*\n\s*f?"', "", "".join(file.read_text() for file in files))
    messages = [message for row in rows for message in re.findall("`(.+?)`", row)]
    assert len(messages) > 15
    assert [message for message in messages if message not in code] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search"], "IMAGES is missing; give a directory or an archive of images: make search IMAGES=PATH"),
        (["search", "IMAGES=no such place"], "IMAGES: got no such place, which doesn't exist"),
        (["search", "IMAGES=tests", "LABELS=gone.csv"], "LABELS: got gone.csv, which doesn't exist"),
        (["quick", "DATA=gone"], "DATA: got gone, which doesn't exist"),
    ],
)
def test_make_names_a_missing_path_before_it_installs_anything(arguments, message):
    command = ["make", "--dry-run", "-C", str(ROOT), "VENV=/nonexistent", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode
    assert message in result.stderr
    assert "pip install" not in result.stdout


def test_make_search_and_plan_run_their_scripts_with_what_they_are_given():
    def commands(*arguments):
        command = ["make", "--dry-run", "--no-print-directory", "-C", str(ROOT), "VENV=V", *arguments]
        own = {name: value for name, value in os.environ.items() if name not in ("CORES", "MAKEFLAGS")}
        printed = subprocess.run(command, capture_output=True, text=True, check=True, env=own).stdout
        return [line for line in printed.replace("\\\n\t", "").splitlines() if "pip" not in line][2:]

    assert commands("search", "IMAGES=tests", "RUN=own", "LABELS=README.md", "SET=epochs=2 cells=3") == [
        'V/bin/python workflow_scripts/choose_settings.py "tests" results/own/config.yaml '
        '--labels "README.md" --set cores=2 epochs=2 cells=3',
        "V/bin/python workflow_scripts/print_plan.py --configfile results/own/config.yaml",
        "V/bin/snakemake --cores 2 --quiet reason host --configfile results/own/config.yaml",
        "cat results/own/summary.md",
    ]
    assert commands("plan", "CONFIG=a.yaml b.yaml", "DATA=tests", "GPU_TFLOPS=3") == [
        "V/bin/python workflow_scripts/print_plan.py --configfile a.yaml b.yaml "
        '--config "data=tests" --gpu-tflops 3'
    ]


def test_data_files_name_no_key_twice() -> None:
    """PyYAML keeps the last of two equal keys without a word."""

    def twice(node: yaml.Node) -> list[str]:
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
            found = [str(key) for key in keys if keys.count(key) > 1]
            parts = [value for _, value in node.value]
        else:
            found, parts = [], node.value if isinstance(node, yaml.SequenceNode) else []
        return found + [key for part in parts for key in twice(part)]

    files = [*(ROOT / "rlnas_core").rglob("*.yaml"), *(ROOT / "config").rglob("*.yaml")]
    assert {file.name: found for file in files if (found := twice(yaml.compose(file.read_text())))} == {}
