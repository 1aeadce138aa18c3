"""Documents name files that exist: paths in backticks, and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine import ROOT

PATTERNS = ("*.md", "docs/*.md", "docs/decisions/*.md", "models/*.md")
PAGES = sorted(page for pattern in PATTERNS for page in ROOT.glob(pattern))
BASES = ("", "appliance", "provisioning", "provisioning/device")
"""Where a path may begin, besides the folder of the page itself."""

SOURCE = re.compile(r"[\w.-]+(/[\w.-]+)*\.(py|html|css|js)")
FOLDER = re.compile(r"([\w-]+)(/[\w-]+)*/")
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
    """Each relative link of a page whose target does not exist."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, _ = target.partition("#")
        if path and "://" not in target and not (folder / path).exists():
            yield target


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
    text = "[a](lamps.md) [b](nothing.md#x) [c](https://example.org/x) [d](#here)"
    assert list(broken_links(text, ROOT / "docs")) == ["nothing.md#x"]
