"""Sphinx: ``python -m sphinx -W --keep-going -n -b html docs docs/_build/html``.

Nothing is fetched, neither by the build nor by the pages: no intersphinx, no fonts or scripts from elsewhere,
and mathematics as MathML.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
sys.path.insert(0, str(HERE.parent))

# what draws in a build draws into files
os.environ.setdefault("MPLBACKEND", "agg")

import sparsetconv  # noqa: E402

project = "sparsetconv"
author = "The sparsetconv developers"
project_copyright = author
version = release = sparsetconv.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "mathml",
    "page_details",
]
exclude_patterns = ["_build", "_templates", "scripts", "gallery", "auto_gallery/**/*.ipynb"]
templates_path = ["_templates"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
nitpicky = True
# a name in single backticks is a link where there is something to link to
default_role = "py:obj"

# Markdown
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

# docstrings: signatures as they are written, without the types that numpydoc's sections say in words
autodoc_typehints = "none"
autodoc_member_order = "bysource"
# defaults as they are written: float64 and not <class 'numpy.float64'>
autodoc_preserve_defaults = True
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
# names in docstrings that lead to other packages or name a parameter
nitpick_ignore_regex = [
    ("py:.*", r"(scipy|numpy|np|torch|tf|threadpoolctl|skimage|matplotlib)\..*"),
]

# examples: every script is run by the build, and a failure is an error
gallery = HERE / "gallery"
if any(gallery.glob("plot_*.py")):
    extensions.append("sphinx_gallery.gen_gallery")
    sphinx_gallery_conf = {
        "examples_dirs": "gallery",
        "gallery_dirs": "auto_gallery",
        "filename_pattern": r"plot_",
        "backreferences_dir": None,
        "abort_on_example_error": True,
        "download_all_examples": False,
        "show_memory": False,
        # its page of times loads scripts from elsewhere
        "write_computation_times": False,
        "remove_config_comments": True,
        "nested_sections": False,
        "reset_modules": ("matplotlib",),
        # what is printed, and not what the last line returns
        "capture_repr": (),
    }
else:
    # a checkout without examples: the entry in the table of contents leads nowhere
    suppress_warnings = ["toc.not_readable"]

copybutton_prompt_text = r">>> |\.\.\. ?"
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

html_theme = "pydata_sphinx_theme"
html_title = f"sparsetconv {release}"
html_static_path = ["_static"]
html_css_files = ["sparsetconv.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_last_updated_fmt = None
# SPARSETCONV_DOCS_MODE=dark builds pages that start dark, to look at them
html_context = {"default_mode": os.environ.get("SPARSETCONV_DOCS_MODE", "auto")}
# pages without neighbours have no menu beside them
ALONE = (
    "get_started",
    "idea",
    "conventions",
    "performance",
    "assembly",
    "contributing",
    "benchmarks",
    "search",
)
html_sidebars = {page: [] for page in ALONE}
html_theme_options = {
    "logo": {"text": "sparsetconv"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
