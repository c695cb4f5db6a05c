"""Write the configuration of a search on a user's own images and print the choices; run by `make search`."""

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

import yaml

import job  # noqa: F401 - puts the library on the path
from rlnas_core.configuration.choices import GIVEN, choose_settings
from rlnas_core.images.survey import survey


def _choice(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or key not in GIVEN:
        raise argparse.ArgumentTypeError(f"got {text}; accepted: KEY=VALUE with a key of {', '.join(GIVEN)}")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise argparse.ArgumentTypeError(
            f"got {text}; accepted: KEY=VALUE, the value in YAML without spaces"
        ) from None


def _labels(text: str) -> Path | bool:
    return text != "none" and Path(text)


def main() -> None:
    """Survey the images, choose settings, print the choices and write the configuration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="a directory or archive of images")
    parser.add_argument("output", type=Path, help="the configuration to write")
    parser.add_argument(
        "--labels", type=_labels, help="a CSV of file and class; none if directories are no classes"
    )
    parser.add_argument(
        "--set", nargs="*", type=_choice, default=[], metavar="KEY=VALUE", help="choices made"
    )
    arguments = parser.parse_args()
    run = re.sub(r"[^A-Za-z0-9._-]", "-", Path(os.path.abspath(arguments.output)).parent.name)
    try:
        if not arguments.images.exists():
            raise ValueError(
                f"IMAGES: got {arguments.images}, which doesn't exist; give a directory or archive"
            )
        seen = survey(arguments.images, arguments.labels)
        path, labels = (one and one.resolve() for one in (arguments.images, arguments.labels))
        config, chosen = choose_settings(run, path, seen, labels, dict(arguments.set))
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    print(
        f"{arguments.images}: {seen.train} images, {seen.test} test images, {seen.classes or 'no'} classes\n"
    )
    for one in chosen:
        print(f"{one.name:>17} = {one.value!s:<14} {one.why}")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    text = "# Written by `make search`; run it again with snakemake --configfile, also after a change.\n"
    arguments.output.write_text(text + yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    print(f"\nThe configuration is {arguments.output}; SET='KEY=VALUE ...' makes any of these choices.\n")


if __name__ == "__main__":
    main()
