"""Validate a configuration against a schema, with readable messages, and fill in defaults."""

import copy
import difflib
import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
_KINDS = {
    "object": "a mapping",
    "string": "text in one line",
    "integer": "a whole number",
    "number": "a finite number",
    "boolean": "true or false",
    "null": "null",
}
_ITEMS = {"integer": "whole numbers", "number": "numbers", "string": "texts", "null": "null"}
_SHOWN = 80  # characters of a value


def mistakes(config: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """One line for each value that the schema doesn't allow: key, value and supported values."""
    import jsonschema  # jobs read configurations too, and their environments lack it

    strict = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {name: partial(_is_a, name) for name in ("integer", "number", "string")}
    )
    validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=strict)(schema)
    errors = sorted(validator.iter_errors(config), key=lambda error: error.json_path)
    return [_explain(error) for error in errors]


def _is_a(kind: str, checker: Any, value: Any) -> bool:
    """Stricter types: JSON Schema accepts 1.0 as an integer, and YAML has .nan and .inf."""
    if isinstance(value, bool):
        return False
    match kind:
        case "integer":
            return isinstance(value, int) and abs(value) < 2**32
        case "number":
            return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, str) and value.isprintable()


def in_yaml(value: Any) -> str:
    """A value as YAML text, shortened for a message if it is long."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case float() if not math.isfinite(value):
            return str(value).replace("inf", ".inf").replace("nan", ".nan")
        case list() | dict() if not value:
            return repr(value)
        case list():
            shown = f"[{', '.join(map(in_yaml, value))}]"
        case _:
            shown = repr(value)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."


def _explain(error: "ValidationError") -> str:
    key = ".".join(str(part) for part in error.absolute_path) or "configuration"
    got = f"{key}: got {in_yaml(error.instance)}"
    match error.validator:
        case "enum":
            known = [in_yaml(value).strip("'") for value in error.validator_value]
            return f"{got}; accepted: {', '.join(known)}"
        case "type":
            kinds = " or ".join(_kind(kind, error) for kind in _several(error.validator_value))
            # YAML reads 1e-3 as text, and Snakemake all that is in a list or mapping of --config.
            quoted = "number" in kinds and isinstance(error.instance, str) and error.instance[:1].isdigit()
            hint = ", not text: give it in a file, without quotes, and 1e-3 as 1.0e-3" if quoted else ""
            return f"{got}; accepted: {kinds}{hint}"
        case "additionalProperties":
            known = error.schema["properties"]
            unknown = [name for name in error.instance if name not in known]
            close = [match for name in unknown for match in difflib.get_close_matches(str(name), known, 1)]
            meant = f"did you mean {', '.join(close)}? " if close else ""
            got = f"got unknown key {', '.join(map(repr, unknown))}"
            return f"{key}: {got}; {meant}accepted: {', '.join(known)}"
        case "required":
            absent = [name for name in error.validator_value if name not in error.instance]
            return f"{key}: got no {', '.join(absent)}; required: {', '.join(error.validator_value)}"
        case bound if bound in BOUNDS:
            return f"{got}; accepted: {BOUNDS[bound]} {error.validator_value}"
        case "pattern":
            return f"{got}; accepted: text that matches {error.validator_value}"
        case "uniqueItems":
            return f"{got}; accepted: no value twice"
        case "minItems" | "minProperties":
            return f"{got}; accepted: {error.validator_value} or more of them"
        case "maxItems":
            return f"{got}; accepted: {error.validator_value} of them"
        case "maxLength":
            return f"{got}; accepted: {error.validator_value} characters"
    return f"{got}; {error.message}"


def _kind(kind: str, error: "ValidationError") -> str:
    """What a value of a type is, as far as the value that was got needs it."""
    if kind == "array":
        return _list(error.schema)
    if kind == "integer" and type(error.instance) is int:  # refused for its size
        return f"{_KINDS[kind]} of at most 32 bits"
    return _KINDS[kind]


def _list(schema: Mapping[str, Any]) -> str:
    """What a list contains, with an example where the schema gives one."""
    items = schema.get("items") or schema["prefixItems"][0]
    if "enum" in items:
        return f"a list, such as [{', '.join(items['enum'][:2])}]"
    kinds, start = _several(items["type"]), items.get("minimum", 0)
    example = f", such as {[start, start + 1, start + 2]}" if "integer" in kinds else ""
    return f"a list of {' or '.join(_ITEMS[kind] for kind in kinds)}{example}"


def _several(kinds: str | list[str]) -> list[str]:
    return [kinds] if isinstance(kinds, str) else kinds


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema merged with the one that it refers to; keys beside the reference take precedence."""
    if "$ref" not in schema:
        return schema
    shared = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    own, others = (part.get("properties", {}) for part in (schema, shared))
    properties = {name: {**others.get(name, {}), **own.get(name, {})} for name in others | own}
    return {**shared, **schema, "properties": properties}


def with_defaults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """A value with the defaults of its schema, a part of `root`, filled in at all levels.

    Keys are in the schema's order: Snakemake repeats jobs whose settings are written differently.
    """
    schema = resolved(schema, root)
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    entries = {name: resolved(entry, root) for name, entry in properties.items()}
    absent = {name: entry["default"] for name, entry in entries.items() if "default" in entry}
    absent = {name: copy.deepcopy(default) for name, default in absent.items() if name not in value}
    others, filled = schema.get("additionalProperties"), value | absent
    return {
        name: with_defaults(
            filled[name], properties.get(name, others if isinstance(others, dict) else {}), root
        )
        for name in dict.fromkeys([*properties, *filled])
        if name in filled
    }
