"""Sphinx's settings for the site; `docs/build.py` stages the pages and calls Sphinx with them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))

from numpydoc.xref import DEFAULT_LINKS  # noqa: E402
from site_parts import contents, figures  # noqa: E402

import cem  # noqa: E402

project = "cem"
author = copyright = "The cem developers"
version = release = cem.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "site_parts.references",
    "site_parts.mathml",
    "site_parts.tables",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["auto_examples/**/*.ipynb", "auto_examples/**/*.md5", "examples/**", "**/sg_execution_times.rst"]
templates_path = [str(DOCS / "_templates")]  # absolute: autosummary looks beside the pages
default_role = "obj"  # `Panel` in a docstring is a link where there is such a name, and code elsewhere
nitpicky = True
# Types of the standard library and of NumPy: their pages are on other sites, which a build does not ask.
nitpick_ignore_regex = [("py:.*", r"(?!cem\b).*")]
suppress_warnings = ["config.cache"]  # sphinx-gallery's settings hold a class

# -- Pages in Markdown: what a code host shows, the site shows.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_fence_as_directive = ["math"]
highlight_language = "none"
smartquotes = False  # {"full", "pooled"} is code

# -- Docstrings.
autodoc_typehints = "none"  # numpydoc's sections have them, with shapes
autodoc_member_order = "bysource"
autosummary_generate = True
autosummary_ignore_module_all = False
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = True
DEFAULT_LINKS.clear()  # those lead to sites that a build would have to ask
numpydoc_xref_ignore = "all"  # words of types that are no names of ours
numpydoc_xref_aliases = {
    name: f"cem.{name}"
    for name in ("Basis", "FailureModeEM", "FailureModeModel", "Panel", "RemainingLife", "RemainingLifeDistribution")
} | {
    "LifetimeLaw": "cem.lifetimes.LifetimeLaw",
    "Lifetimes": "cem.lifetimes.Lifetimes",
    "Calibration": "cem.calibration.Calibration",
    "Parameters": "cem.mixture.parameters.Parameters",
    "Scorer": "cem.scoring.Scorer",
}
toc_object_entries_show_parents = "hide"
add_module_names = False

# -- The gallery.
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "plot_gallery": bool(os.environ.get("CEM_DOCS_GALLERY")),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "min_reported_time": 1e9,
    "remove_config_comments": True,
    "image_scrapers": ("matplotlib",),
    "matplotlib_animations": False,
    "capture_repr": (),
    "thumbnail_size": (500, 340),
    "image_srcset": ["2x"],
    "reset_modules": ("matplotlib", figures.reset),
}

# -- How it looks.
html_theme = "pydata_sphinx_theme"
html_title = f"cem {version}"
html_static_path = ["_static"]
html_css_files = ["cem.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "logo": {"text": f"cem {version}"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": [], "model": []},  # room for equations
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
}
html_sidebars = {"index": [], "changes": [], "contributing": []}


def setup(app: object) -> None:
    app.connect("source-read", contents.add_toctrees)  # type: ignore[attr-defined]
