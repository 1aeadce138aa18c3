"""docs/troubleshooting.md quotes messages of the product word for word."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.machine import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
OF_SYSTEMD = {"Start request repeated too quickly", "Watchdog timeout"}
OTHER_SOURCES = (
    "appliance/web/templates/*.html",
    "appliance/web/static/*.js",
    "setup.sh",
    "provisioning/command",
)


def quotes(text: str) -> Iterator[str]:
    """The messages in the first column of the tables, without the values that an ellipsis replaces."""
    for cell in re.findall(r"^\| (.*?) \|", text, re.MULTILINE):
        for quote in re.findall(r"`([^`]+)`", cell):
            if " " in quote and not re.match(r"sudo |\.venv/|journalctl ", quote):
                yield from filter(None, (part.strip() for part in quote.split("…")))


def strings(source: str) -> Iterator[str]:
    """The strings of a module; of an f-string, each part between its values."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            yield node.value if isinstance(node.value, str) else node.value.decode(errors="replace")


@cache
def product() -> str:
    """Everything that the product may say."""
    modules = [*ROOT.glob("appliance/**/*.py"), *ROOT.glob("provisioning/device/**/*.py")]
    texts = [text for path in modules for text in strings(path.read_text("utf-8"))]
    texts += [path.read_text("utf-8") for pattern in OTHER_SOURCES for path in ROOT.glob(pattern)]
    return "\n".join(" ".join(text.split()) for text in texts)


@pytest.mark.parametrize("quote", sorted({*quotes(PAGE.read_text("utf-8"))} - OF_SYSTEMD))
def test_a_quoted_message_is_one_of_the_product(quote: str) -> None:
    assert quote in product()


def test_an_unknown_message_is_found() -> None:
    assert [*quotes("| `the cow has … legs`, a box | buy it |")] == ["the cow has", "legs"]
    assert "the cow has" not in product()
