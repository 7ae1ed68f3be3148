"""Equations as MathML, which browsers show by themselves: no script, and none fetched from elsewhere."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

__all__ = ["setup"]

# The converter knows this environment under its other name only.
_ALIGNED = re.compile(r"\\(begin|end)\{aligned\}")
_TAG = re.compile(r"\\tag\{([^}]*)\}")


def _inline(self: Any, node: nodes.Element) -> None:
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _block(self: Any, node: nodes.Element) -> None:
    text = node.astext()
    tag = _TAG.search(text)
    self.body.append(self.starttag(node, "div", CLASS="equation"))
    self.body.append(convert(_ALIGNED.sub(r"\\\1{split}", _TAG.sub("", text)), display="block"))
    if tag:
        self.body.append(f'<span class="number">({self.encode(tag[1])})</span>')
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
