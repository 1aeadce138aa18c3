"""How Sphinx builds the documentation site: `make docs`. Why so: docs/decisions/0081-documentation-site.md.

Sphinx reads the Markdown files where they are, from the root of the repository. A relative link therefore
means the same on the site as in a view of the repository.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]

project = "Interview Grader"
copyright = "the authors of Interview Grader; Apache-2.0"
version = release = re.findall(r'__version__ = "(.+)"', (ROOT / "appliance/__init__.py").read_text("utf-8"))[
    0
]

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "models/*.md",
    "appliance/THIRD-PARTY.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
]
exclude_patterns = ["docs/decisions/template.md"]
myst_heading_anchors = 4
highlight_language = "text"
# Examples are often parts of a file, which no lexer accepts.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "pydata_sphinx_theme"
html_title = project
html_favicon = "../appliance/web/static/favicon.svg"
html_logo = "../appliance/web/static/favicon.svg"
html_theme_options = {
    "logo": {"text": project},
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"docs/index": []}
html_show_sourcelink = html_copy_source = html_use_index = False

INDEXES = re.compile(r"docs/(index|readers/.*|decisions/index)")
"""Pages whose lists are the navigation: each item that begins with a link places a page below this one."""

_ITEM = re.compile(r"^- \[([^]]*)\]\(([^)#:]+)\.md\)", re.M)
_TOCTREE = "\n```{{toctree}}\n:hidden:\n\n{}\n```\n"
_MERMAID = re.compile(r"^```mermaid\n.*?^```\n", re.M | re.S)
_START = '<!doctype html><meta http-equiv="refresh" content="0; url=docs/index.html"><title>{}</title>\n'


def leave_out_diagrams(app: Sphinx, docname: str, source: list[str]) -> None:
    """Drop Mermaid diagrams: a browser without a network cannot draw them. The table below has the same."""
    source[0] = _MERMAID.sub("", source[0])


def add_navigation(app: Sphinx, docname: str, source: list[str]) -> None:
    """Make a hidden toctree of the lists of an index page."""
    if INDEXES.fullmatch(docname):
        entries = [f"{title} <{page}>" for title, page in _ITEM.findall(source[0])]
        source[0] += _TOCTREE.format("\n".join(entries))


def resolve_links(app: Sphinx, doctree: nodes.document) -> None:
    """Links to a folder lead to its index page, or become text; links to other Markdown files, to a copy."""
    for link in list(doctree.findall(addnodes.pending_xref)):
        if link["reftype"] != "myst":
            continue
        if link.get("refdomain") == "doc":
            page = link["reftarget"]
            if page not in app.env.found_docs and (ROOT / f"{page}.md").is_file():
                copy = addnodes.download_reference("", "", *link.children, reftarget=f"/{page}.md")
                copy["refdoc"] = link["refdoc"]
                link.replace_self(copy)
            continue
        folder = ROOT.joinpath(link["refdoc"]).parent.joinpath(link["reftarget"]).resolve()
        if not folder.is_dir():
            continue
        index = folder.relative_to(ROOT).joinpath("index").as_posix()
        if index in app.env.found_docs:
            link["refdomain"], link["reftarget"], link["reftargetid"] = "doc", index, None
        else:
            link.replace_self(link.children)


def add_start_page(app: Sphinx, error: Exception | None) -> None:
    """The page at the top of the build leads to the first one."""
    if error is None:
        (Path(app.outdir) / "index.html").write_text(_START.format(project), "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", leave_out_diagrams)
    app.connect("source-read", add_navigation)
    app.connect("doctree-read", resolve_links, priority=400)  # before Sphinx collects what is copied
    app.connect("build-finished", add_start_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
