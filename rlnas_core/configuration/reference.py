"""Generate the reference of all configuration keys, the second part of config/README.md, from the schema.

Run it as `python -m rlnas_core.configuration.reference`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from rlnas_core.configuration.schema import BOUNDS, resolved

CONFIG = Path(__file__).parents[2] / "config"
SCHEMA = CONFIG / "schemas/config.schema.yaml"  # where the Snakemake workflow catalog looks for it
MARK = "<!-- From here on made from schemas/config.schema.yaml by `make docs`. -->\n"


def reference(schema: Mapping[str, Any]) -> str:
    """Return a section for each mapping of the schema, with a line for each key, in the schema's order."""
    return "\n".join(_section("", schema, schema, {})).rstrip() + "\n"


def _section(
    path: str, entry: Mapping[str, Any], root: Mapping[str, Any], shown: dict[str, tuple[str, Any]]
) -> Iterator[str]:
    """The lines of a mapping: its own keys, then sections of the mappings in it.

    `shown` are the definitions and sets of keys that have a section, with its path and entry or lines. Later
    uses show only differences.
    """
    keys = {name: resolved(key, root) for name, key in entry.get("properties", {}).items()}
    mappings = {name: key for name, key in keys.items() if _is_mapping(key)}
    lines = [_line(name, key) for name, key in keys.items() if name not in mappings]
    like, known = shown.setdefault(" ".join(keys), (path, lines))
    description = entry.get("description", "")
    if like != path:
        description += f" Keys as in `{like}`."
        lines = [line for line in lines if line not in known]
    if path:
        yield from (f"## `{path}`", "", description, "")
    yield from (*lines, "")
    for name, key in mappings.items():
        inner = f"{path}.{name}".lstrip(".")
        definition = entry["properties"][name].get("$ref")
        if definition in shown:
            like, first = shown[definition]
            yield from (f"## `{inner}`", "", f"{key.get('description', '')} Keys as in `{like}`.", "")
            for part, other in first["properties"].items():
                own, other = resolved(key["properties"][part], root), resolved(other, root)
                if _is_mapping(own) and own != other:
                    yield ""
                    yield from _section(f"{inner}.{part}", own, root, shown)
                elif own.get("default") != other.get("default"):
                    yield _line(part, own)
            yield ""
            continue
        if definition:
            shown[definition] = inner, key
        others = key.get("additionalProperties")
        if isinstance(others, dict) and "properties" in others:
            yield from _section(
                f"{inner}.NAME", {"description": key.get("description"), **others}, root, shown
            )
        else:
            yield from _section(inner, key, root, shown)


def _line(name: str, key: Mapping[str, Any]) -> str:
    return f"- `{name}`{_default(key)}: {key['description']}{_values(key)}"


def _is_mapping(key: Mapping[str, Any]) -> bool:
    others = key.get("additionalProperties")
    return bool(key.get("properties")) or (isinstance(others, dict) and "properties" in others)


def _default(key: Mapping[str, Any]) -> str:
    if "default" not in key:
        return " (required)"
    text = yaml.safe_dump(key["default"], default_flow_style=True, width=1000)
    return f" (default: `{text.removesuffix('...' + chr(10)).strip()}`)"


def _values(key: Mapping[str, Any]) -> str:
    if "enum" in key:
        shown = ", ".join("null" if value is None else f"`{value}`" for value in key["enum"])
        return f" Supported values: {shown}."
    bounds = [f"{text} {key[name]}" for name, text in BOUNDS.items() if name in key]
    kind = "whole number" if "integer" in key.get("type", "") else "number"
    return f" A {kind} of {' and '.join(bounds)}." if bounds else ""


def main() -> None:
    """Generate config/README.md."""
    readme = CONFIG / "README.md"
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    text = readme.read_text(encoding="utf-8").partition(MARK)[0]
    readme.write_text(text + MARK + "\n" + reference(schema), encoding="utf-8")


if __name__ == "__main__":
    main()
