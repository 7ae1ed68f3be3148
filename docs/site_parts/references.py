"""Names between backticks: a link where the reference has the name, code elsewhere.

Docstrings name methods, parameters and files in the same way, so a name without an entry is no fault. A name that
begins with "cem." or with a public class has to be one: whoever follows it would look for something that is not there.
"""

from __future__ import annotations

import pkgutil
import re
from typing import Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

__all__ = ["setup"]

_LOGGER = logging.getLogger(__name__)

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
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, name)
    if node["reftype"] != "obj":
        return None
    owner, _, attribute = target.rpartition(".")
    known = next((name for module in _MODULES if (name := f"{module}.{owner}") in domain.objects), None)
    full = f"{known}.{attribute}" if known else target
    if full.startswith("cem.") and not _exists(full):
        _LOGGER.warning("there is no %s", full, location=node, type="ref", subtype="obj")
    return content


def _exists(name: str) -> bool:
    """Whether the package has this name, though the reference has no entry for it."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        owner, _, attribute = name.rpartition(".")
        try:
            # Attributes that `__init__` or `fit` set are in the class's docstring.
            return re.search(rf"\b{attribute}\b", pkgutil.resolve_name(owner).__doc__ or "") is not None
        except (ImportError, AttributeError):
            return False
    return True


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("missing-reference", _resolve)
    app.connect("autodoc-process-docstring", _link_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
