"""Pages hold to their own Content-Security-Policy: no script and no style inside, nothing from outside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.machine import ROOT

WEB = ROOT / "appliance" / "web"
TEMPLATES = sorted((WEB / "templates").glob("*.html"))
SOURCES = [*TEMPLATES, *sorted((WEB / "static").glob("*.js")), *sorted((WEB / "static").glob("*.css"))]

INSIDE = [r"<script(?![^>]*\bsrc=)", r"<style\b", r"\sstyle\s*=", r"\son[a-z]+\s*=", r"javascript:"]
OUTSIDE = r"""(?:src|href|action|url\(|import|from|fetch\()\s*[=(]?\s*["']?(?:https?:)?//"""


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_inline_script_or_style(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [pattern for pattern in INSIDE if re.search(pattern, text, re.IGNORECASE)] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_is_loaded_from_other_hosts(path: Path) -> None:
    assert re.findall(OUTSIDE, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_form_that_posts_carries_the_pages_token(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for form in re.findall(r"<form\b.*?</form>", text, re.DOTALL):
        # No one is logged in on /login yet; the two links are secrets themselves.
        if 'method="post"' in form and not re.search(r"login\.log_in|data_subject\.withdraw|use_link", form):
            assert "csrf_token" in form or "{{ token() }}" in form, form


@pytest.mark.parametrize("path", sorted((WEB / "static").glob("*.js")), ids=lambda path: path.name)
def test_a_script_that_posts_carries_the_pages_token(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if re.search(r"""method:\s*["']POST""", text):
        assert "csrf()" in text


@pytest.mark.parametrize(
    "text",
    [
        "<script>x</script>",
        "<style>a{}</style>",
        '<p style="x">',
        '<a onclick="x">',
        '<a href="javascript:x">',
    ],
)
def test_inline_code_is_found(text: str) -> None:
    assert any(re.search(pattern, text) for pattern in INSIDE)


@pytest.mark.parametrize(
    "text", ['<img src="https://x.example/">', "url(//x.example/a)", "from 'https://x/'"]
)
def test_other_hosts_are_found(text: str) -> None:
    assert re.search(OUTSIDE, text)
