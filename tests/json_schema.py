"""As much of JSON Schema as the schema of the command line uses, so that the tests need no other package."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["problems"]

_KEYWORDS = {
    "$schema", "$defs", "$ref", "title", "description", "type", "enum", "properties", "required", "items",
    "additionalProperties", "patternProperties", "minimum", "maximum", "anyOf",
}  # fmt: skip
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "object": (dict,),
    "array": (list,), "null": (type(None),),
}  # fmt: skip


def problems(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str = "$") -> list[str]:
    """Where a value departs from a schema; a property of an object that the schema does not know counts, too."""
    unknown = set(schema) - _KEYWORDS
    if unknown:
        raise ValueError(f"{where}: this checker does not know {sorted(unknown)}")
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return problems(value, target, root, where)
    found = []
    kinds = schema.get("type", list(_TYPES))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(
        isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in kinds
    ):
        return [f"{where} is {value!r:.40}, not {' or '.join(kinds)}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where} is {value!r}, not one of {schema['enum']}")
    low, high = schema.get("minimum", -float("inf")), schema.get("maximum", float("inf"))
    if isinstance(value, int | float) and not low - 1e-9 <= value <= high + 1e-9:
        found.append(f"{where} is {value!r}, out of range")
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            found += problems(item, schema["items"], root, f"{where}[{i}]")
    if isinstance(value, dict) and "properties" in schema:
        found += [f"{where} lacks {name}" for name in schema["required"] if name not in value]
    if isinstance(value, dict):
        patterns = schema.get("patternProperties", {})
        for name, item in value.items():
            own = schema.get("properties", {}).get(name)
            own = own or next((one for pattern, one in patterns.items() if re.search(pattern, name)), None)
            own = own or schema.get("additionalProperties")
            if own is not None:
                found += problems(item, own, root, f"{where}.{name}")
            elif "properties" in schema:
                found.append(f"{where}.{name} is not in the schema")
    return found
