"""Sphinx settings of the graphopt documentation."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "graphopt"
author = "The graphopt maintainers"
copyright = "the graphopt maintainers"
release = version = installed_version("graphopt")

extensions = [
    "myst_parser",  # pages are Markdown
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",  # Google docstrings
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"graphopt {release}"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autosummary_generate = True
autosummary_imported_members = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # an attribute that is a property too is described once
suppress_warnings = ["ref.python"]  # the builtin `type` in annotations, beside attributes of that name
default_role = "code"  # docstrings write `name` for code
