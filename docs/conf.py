"""How the documentation is built: `sphinx-build -W docs docs/_build`, without a network."""

import re
import sys
import warnings
from pathlib import Path

import matplotlib

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import inventories  # noqa: E402

import shoal  # noqa: E402

matplotlib.use("Agg")
warnings.filterwarnings("error", category=RuntimeWarning)

project = "shoal"
author = "The shoal developers"
copyright = author
version = release = shoal.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
root_doc = "index"
exclude_patterns = ["_build", "reports.md", "gallery/README.txt", "gallery/*.rst"]
default_role = "literal"
nitpicky = True
templates_path = ["_templates"]

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
# Docstrings that are scikit-learn's own name pages of its guide.
nitpick_ignore_regex = [("py:.*", r"(optional|estimator instance|array.*|sklearn\..*|np\..*)")]

# Names of other projects, written to an inventory each, so that no network is needed.
intersphinx_mapping = inventories.write_all(HERE / "_build" / "inventories")

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
suppress_warnings = [
    "myst.header",  # sections of README.md are included below headings of their own
    "config.cache",  # the gallery's settings hold classes
]

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": r"\.py$",
    "plot_gallery": True,
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "within_subsection_order": "FileNameSortKey",
    "reference_url": {"shoal": None},
    "backreferences_dir": "auto_gallery/backreferences",
    "doc_module": ("shoal",),
    "matplotlib_animations": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"shoal {release}"
html_static_path = ["_static"]
html_css_files = ["shoal.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "show_prev_next": True,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
html_sidebars = {"install": [], "tour": []}


def quote_attributes(app, what, name, obj, options, lines):
    """Quote names that end with an underscore in the shapes of arrays: RST takes them for links."""
    for i, line in enumerate(lines):
        lines[i] = re.sub(r"(?<=shape \()(\w+_)(?=,\))", r"``\1``", line)


def setup(app):
    """Before numpydoc reads docstrings."""
    app.connect("autodoc-process-docstring", quote_attributes, priority=100)
