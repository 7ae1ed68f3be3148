"""Names between backticks: a link where the reference has the name, code elsewhere.

Docstrings name methods, parameters and files in the same way, so a name without an entry is no fault. A name that
begins with "cem." has to be one: whoever follows it would look for something that is not there.
"""

from __future__ import annotations

import pkgutil
import re
from typing import Any

from docutils import nodes

__all__ = ["setup"]

# Where a name without its module is looked for.
_MODULES = ("cem", "cem.errors", "cem.scoring", "cem.lifetimes", "cem.metrics", "cem.calibration", "cem.tables")
# "model.md (10)" in a docstring, where it is not code.
_PAGE = re.compile(r"(?<![`\w/])(model|limitations|algorithm|scoring|file-format)\.md\b")


def _link_pages(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = [_PAGE.sub(r":doc:`\g<0> </\1>`", line) for line in lines]


def _resolve(app: Any, env: Any, node: nodes.Element, content: nodes.TextElement) -> nodes.Element | None:
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    target = node["reftarget"].removesuffix("()")
    for name in (f"{module}.{target}" for module in _MODULES):
        if name in domain.objects:
            entry = domain.objects[name]
            from sphinx.util.nodes import make_refnode

            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, name)
    if node["reftype"] == "obj" and (not target.startswith("cem.") or _exists(target)):
        return content
    return None


def _exists(name: str) -> bool:
    """Whether the package has this name, though the reference does not show it."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("missing-reference", _resolve)
    app.connect("autodoc-process-docstring", _link_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
