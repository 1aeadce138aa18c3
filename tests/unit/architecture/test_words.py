"""Never a verdict: no text that users see judges a person, but in sentences that deny it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine import ROOT

BANNED = (
    r"honest\w*|dishonest\w*|nervous\w*|anxious\w*|hir(?:e|e?able)|unhireable|liar\w*|lying|truthful\w*"
    r"|trustworth\w*|untrustworth\w*|decepti\w*|suspicious\w*|credib\w*|total score|overall score|final score"
    r"|rank(?:s|ed|ing)?|grade[sd]?|verdicts?|intelligen\w*|competen\w*|incompeten\w*|personality|suitab\w*"
    r"|confident|loser\w*|winner\w*|best candidate|lie detect\w*"
)
"""What would be a judgement of a person."""

DENIALS = (
    r"\b(?:no|nobody|not|never|neither|nor|without|cannot|stays off|forbid\w*|refus\w*|must not)\b"
    r"|artificial intelligence"
)
"""A sentence with one of these may name what it denies. The law calls such a program by its name."""

NOT_ABOUT_PEOPLE = re.compile(r'class="honest"|most confident mistakes')
"""A name in the code of the page, and what `evaluate` calls a model's mistakes."""


def texts() -> list[Path]:
    """Whatever a user reads: pages, scripts, notices, messages of the modules, README and documents."""
    package = ROOT / "appliance"
    found = [
        *package.glob("web/templates/*.html"),
        *package.glob("web/static/*.js"),
        *package.glob("consent/notices/*.toml"),
        *package.rglob("*.py"),
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "docs" / "notice.md",
        ROOT / "docs" / "privacy.md",
        ROOT / "docs" / "configuration.md",
        *(ROOT / "docs" / f"{name}.md" for name in ("getting-started", "using", "being-read", "faq")),
    ]
    return sorted(found)


def messages(source: str) -> list[str]:
    """The strings of a module that may be shown: neither names nor docstrings."""
    tree = ast.parse(source)
    unseen = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in unseen
    ]


def judgements(text: str) -> Iterator[str]:
    """The sentences of a text that judge a person."""
    text = NOT_ABOUT_PEOPLE.sub("", text)
    for sentence in re.split(r"(?<=[.!?;:])\s+|\n\s*\n|[<>`|]", text):
        for found in re.finditer(rf"\b(?:{BANNED})\b", sentence, re.IGNORECASE):
            if not re.search(DENIALS, sentence, re.IGNORECASE):
                yield f"{found[0]!r} in {' '.join(sentence.split())[:120]!r}"


@pytest.mark.parametrize("path", texts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_judges_anybody(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    words = messages(text) if path.suffix == ".py" else [text]
    assert [found for each in words for found in judgements(each)] == []


@pytest.mark.parametrize(
    "text",
    [
        "This person is nervous.",
        "He is a liar.",
        '<p class="label">trustworthy</p>',
        "Total score: 87",
        "Candidates are ranked by smile.",
        "Hireable: yes",
        "All is fine. She seems dishonest. Nobody knows.",
    ],
)
def test_a_judgement_is_found(text: str) -> None:
    assert list(judgements(text))


@pytest.mark.parametrize(
    "text", ["Nobody is graded or ranked.", "There is no total score.", "A smile: happy 0.62"]
)
def test_a_denial_is_none(text: str) -> None:
    assert not list(judgements(text))
