"""Decisions follow one template, are in the index, and name the pages that replace or amend them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from tests.machine import ROOT

FOLDER = ROOT / "docs" / "decisions"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))
TEMPLATE, INDEX = FOLDER / "template.md", FOLDER / "index.md"

SECTIONS = ("Context", "Decision", "Measurements", "Consequences", "Refused")
"""In this order."""
OPTIONAL = {"Measurements", "Refused"}

LINK = r"\[\d+\]\(\d{4}-[a-z0-9-]+\.md\)"
LINKS = rf"{LINK}(?:, {LINK})*"
STATUS = re.compile(
    r"Date: (?P<date>\d{4}-\d\d-\d\d)\. "
    rf"Status: (?:in force(?:, amended by (?P<amended_by>{LINKS}))?"
    rf"|superseded by (?P<superseded_by>{LINK}))\."
    rf"(?: Supersedes (?P<supersedes>{LINKS})\.)?(?: Amends (?P<amends>{LINKS})\.)?"
)
COUNTERPARTS = {
    "superseded_by": "supersedes",
    "supersedes": "superseded_by",
    "amended_by": "amends",
    "amends": "amended_by",
}


@dataclass(frozen=True)
class Decision:
    """One page, as its file states it."""

    path: Path
    number: int
    title: str
    date: str
    relations: dict[str, set[int]]
    """The numbers of other pages by relation, such as `supersedes`."""
    sections: list[str]


def parse(path: Path) -> Decision:
    """Read a page. A page that does not follow the template fails the test that reads it."""
    text = path.read_text("utf-8")
    head, _, _ = text.partition("\n## ")
    title, _, status = head.partition("\n\n")
    named = re.fullmatch(r"# (\d+)\. (\S.*)", title)
    assert named, f"{path.name}: expected '# N. Sentence', found {title!r}"
    stated = STATUS.fullmatch(" ".join(status.split()))
    assert stated, f"{path.name}: the second paragraph is not as in template.md: {status.strip()!r}"
    relations = {name: set(map(int, re.findall(r"\[(\d+)\]", stated[name] or ""))) for name in COUNTERPARTS}
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    return Decision(path, int(named[1]), named[2], stated["date"], relations, sections)


def linked_wrongly(text: str) -> list[str]:
    """Links between decisions whose text has another number than their target."""
    links = re.findall(r"\[(?:[Dd]ecision\s)?(\d+)\]\((\d{4})-[^)]*\)", text)
    return [f"{number} leads to {target}" for number, target in links if int(number) != int(target)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_follows_the_template(path: Path) -> None:
    page = parse(path)
    assert path.name.startswith(f"{page.number:04d}-")
    assert date.fromisoformat(page.date)
    expected = [name for name in SECTIONS if name in page.sections or name not in OPTIONAL]
    assert page.sections == expected
    assert linked_wrongly(path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_section_has_text(path: Path) -> None:
    empty = re.findall(r"^## (.+)\n+(?=## |\Z)", path.read_text("utf-8"), re.MULTILINE)
    assert empty == []


def test_the_template_has_all_sections() -> None:
    assert re.findall(r"^## (.+)$", TEMPLATE.read_text("utf-8"), re.MULTILINE) == list(SECTIONS)


def test_pages_that_replace_or_amend_each_other_both_state_it() -> None:
    pages = {page.number: page for page in map(parse, PAGES)}
    assert len(pages) == len(PAGES), "two pages have the same number"
    one_sided = [
        f"{number} states {relation} {other}, but {other} does not state {COUNTERPARTS[relation]} {number}"
        for number, page in pages.items()
        for relation, others in page.relations.items()
        for other in others
        if other not in pages or number not in pages[other].relations[COUNTERPARTS[relation]]
    ]
    assert one_sided == []


def test_the_index_lists_each_page_once_with_its_title_and_status() -> None:
    listed = re.findall(r"^- (\[\d+\. .+)$", INDEX.read_text("utf-8"), re.MULTILINE)
    expected = []
    for page in map(parse, PAGES):
        replaced = "".join(f" (superseded by {number})" for number in page.relations["superseded_by"])
        expected.append(f"[{page.number}. {page.title}]({page.path.name}){replaced}")
    assert sorted(listed) == sorted(expected)


def test_the_index_explains_each_missing_number() -> None:
    _, _, missing = INDEX.read_text("utf-8").partition("\n## Missing numbers\n")
    explained = [
        int(number)
        for numbers in re.findall(r"^- ([\d, ]+):", missing, re.MULTILINE)
        for number in numbers.split(",")
    ]
    used = [parse(path).number for path in PAGES]
    assert sorted(used + explained) == list(range(1, max(used) + 1))


@pytest.mark.parametrize(
    "head",
    [
        "1. No hash\n\nDate: 2026-11-23. Status: in force.",
        "# 1. No date\n\nStatus: in force.",
        "# 1. Another status\n\nDate: 2026-11-23. Status: accepted.",
        "# 1. No link\n\nDate: 2026-11-23. Status: superseded by 2.",
    ],
)
def test_a_faulty_head_is_found(head: str, tmp_path: Path) -> None:
    path = tmp_path / "0001-page.md"
    path.write_text(f"{head}\n\n## Context\n\nText.\n", "utf-8")
    with pytest.raises(AssertionError, match="0001-page"):
        parse(path)


def test_a_link_to_another_number_is_found() -> None:
    text = "[decision 3](0003-a.md), [4](0005-b.md)"
    assert linked_wrongly(text) == ["4 leads to 0005"]
