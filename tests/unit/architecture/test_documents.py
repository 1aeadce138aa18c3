"""Documents name files that exist, link to headings that exist, and each has its place on the site."""

from __future__ import annotations

import functools
import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine import ROOT

PATTERNS = ("*.md", "docs/**/*.md", "models/*.md", "appliance/*.md")
PAGES = sorted(page for pattern in PATTERNS for page in ROOT.glob(pattern))
BASES = ("", "appliance", "provisioning", "provisioning/device")
"""Where a path may begin, besides the folder of the page itself."""

SOURCE = re.compile(r"[\w.-]+(/[\w.-]+)*\.(py|html|css|js)")
FOLDER = re.compile(r"([\w-]+)(/[\w-]+)*/")
FENCE = re.compile(r"^ *```.*?^ *```$", re.M | re.S)
INDEXES = ("docs/index.md", "docs/readers/*.md", "docs/decisions/index.md")
ITEM = re.compile(r"^- \[[^]]*\]\(([^)#:]+\.md)\)", re.M)
"""How docs/conf.py finds the navigation of the site: an item of a list in an index page."""

NOT_ON_THE_SITE = {"README.md", "docs/decisions/template.md"}
"""The site begins with docs/index.md instead."""

MADE_LATER = {"provisioning/manual/"}


def names(path: str) -> bool:
    """Whether text in backticks looks like a source file, or a folder inside one of our folders."""
    folder = FOLDER.fullmatch(path)
    return bool(SOURCE.fullmatch(path)) or bool(folder and _exists(folder[1], ROOT / "docs"))


def missing_paths(text: str, folder: Path) -> Iterator[str]:
    """Each source file or folder of ours that a page names and that does not exist."""
    for path in re.findall(r"`([^`\s:]+)(?:::\w+)?`", text):
        if names(path) and path not in MADE_LATER and "NAME" not in path and not _exists(path, folder):
            yield path


def broken_links(text: str, folder: Path) -> Iterator[str]:
    """Each relative link of a page to a file or a heading that does not exist."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        exists = not path or (folder / path).exists()
        if not exists or (heading and heading not in (anchors_of(folder / path) if path else anchors(text))):
            yield target


@functools.cache
def anchors_of(page: Path) -> frozenset[str]:
    """The anchors of a Markdown file; other files have none."""
    return frozenset(anchors(page.read_text("utf-8")) if page.suffix == ".md" else ())


def anchors(text: str) -> Iterator[str]:
    """The anchor of each heading, as GitHub makes it: a second heading of the same words gets `-1`."""
    seen: Counter[str] = Counter()
    for title in re.findall(r"^#{1,6} +(.+?) *#*$", FENCE.sub("", text), re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w -]", "", words.lower()).replace(" ", "-")
        yield f"{slug}-{seen[slug]}" if seen[slug] else slug
        seen[slug] += 1


def placed_pages(index: Path) -> Iterator[str]:
    """The pages that the lists of an index page place on the site, as paths from the root."""
    for target in ITEM.findall(index.read_text("utf-8")):
        yield posixpath.normpath(index.parent.relative_to(ROOT).joinpath(target).as_posix())


def _exists(path: str, folder: Path) -> bool:
    return any((base / path).exists() for base in (folder, *(ROOT / base for base in BASES)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_named_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    assert [*missing_paths(text, page.parent), *broken_links(text, page.parent)] == []


@pytest.mark.parametrize("path", ["store.py", "vision/search.py", "cameras/old/", "web/templates/mine2.html"])
def test_a_missing_file_is_found(path: str) -> None:
    assert list(missing_paths(f"see `{path}`", ROOT / "docs")) == [path]


@pytest.mark.parametrize(
    "path",
    [
        "values.py",
        "vision/detection/search.py",
        "cameras/",
        "web/static/",
        "exports/",
        "page.toml",
        "NAME.py",
    ],
)
def test_a_file_that_exists_or_is_not_ours_is_not_objected_to(path: str) -> None:
    assert not list(missing_paths(f"see `{path}`", ROOT / "docs"))


def test_a_broken_link_is_found() -> None:
    text = "[a](lamps.md) [b](nothing.md#x) [c](https://example.org/x) [d](#here)\n## Here\n[e](#there)"
    assert list(broken_links(text, ROOT / "docs")) == ["nothing.md#x", "#there"]


def test_a_link_to_a_missing_heading_is_found() -> None:
    text = "[a](configuration.md#web) [b](configuration.md#nothing) [c](../LICENSE#part)"
    assert list(broken_links(text, ROOT / "docs")) == ["configuration.md#nothing", "../LICENSE#part"]


def test_anchors_are_those_of_github() -> None:
    text = "# A, b: `c.d` & [e](f.md)\n```\n# none\n```\n## Same\n## Same\n### `GET /a/{id}`\n"
    assert list(anchors(text)) == ["a-b-cd--e", "same", "same-1", "get-aid"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_page_begins_with_its_title(page: Path) -> None:
    levels = re.findall(r"^(#+) ", FENCE.sub("", page.read_text("utf-8")), re.M)
    assert levels[0] == "#"


def test_every_page_has_one_place_on_the_site() -> None:
    pages = {page.relative_to(ROOT).as_posix() for page in PAGES} - NOT_ON_THE_SITE - {"docs/index.md"}
    indexes = [page for pattern in INDEXES for page in ROOT.glob(pattern)]
    placed = Counter(page for index in indexes for page in placed_pages(index))
    assert placed.keys() == pages, "name it in a list of docs/readers/ or docs/decisions/index.md"
    assert [page for page, times in placed.items() if times > 1] == []


def test_every_picture_is_used_and_small() -> None:
    used = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"!\[[^]]+\]\(([^)\s]+)\)", page.read_text("utf-8"))
    }
    pictures = [path for path in (ROOT / "docs" / "images").iterdir() if path.is_file()]
    assert [path.name for path in pictures if path not in used] == []
    assert [path.name for path in pictures if path.stat().st_size > 150_000] == []
