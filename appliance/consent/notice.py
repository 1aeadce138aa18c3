"""The notice that people read before they consent, read from a TOML file: the shipped one or the owner's.

Its text depends on the file, on how long records are kept, and on what the law requires. Each of these shows
in the version, so a consent names exactly the text that people read. The hash proves the full text.
docs/notice.md describes the file.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from appliance.consent.law import Paragraph
from appliance.errors import ConfigError
from appliance.system.toml import read_toml

KEEP_DAYS = 7
"""Default days for which records are kept; another number shows in the version."""

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._]{0,19}")
_KEYS = {"version", "title", "summary", "paragraph"}
_PLACEHOLDER = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True)
class Notice:
    """The text shown before Start: version, title and paragraphs of plain text.

    `summary`: its short form, from which the page unfolds the full text; empty for none.
    """

    version: str
    title: str
    paragraphs: tuple[Paragraph, ...]
    summary: str = ""

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the full text, hexadecimal: version, title and paragraphs, without the summary."""
        parts = [self.version, self.title]
        for paragraph in self.paragraphs:
            parts += [paragraph.heading, paragraph.text]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class NoticeText:
    """The content of a notice file, with placeholders."""

    version: str
    title: str
    paragraphs: tuple[Paragraph, ...]
    summary: str = ""

    def fill(
        self, keep_days: int, more: tuple[Paragraph, ...] = (), mark: str = "", more_summary: str = ""
    ) -> Notice:
        """The notice for records kept `keep_days` days.

        `more`: further paragraphs, with `mark` for the version and `more_summary` for the summary. A notice
        without a summary stays without one.
        """

        def filled(text: str) -> str:
            return text.replace("{keep_days}", str(keep_days))

        own = tuple(Paragraph(each.heading, filled(each.text)) for each in self.paragraphs)
        days = "" if keep_days == KEEP_DAYS else f"{keep_days}d"
        version = "-".join(part for part in (self.version, mark if more else "", days) if part)
        summary = f"{filled(self.summary)} {more_summary}".strip() if self.summary else ""
        return Notice(version, self.title, own + more, summary)


def shipped_notice() -> Path:
    """The file of the shipped notice."""
    return Path(__file__).resolve().parent / "notices" / "en.toml"


def read_notice(own: str = "") -> NoticeText:
    """The notice of the owner's file `own`, or the shipped one; raises `ConfigError` for a malformed file.

    The version of an owner's file ends with the first digits of its hash, so a changed text is another
    notice even if its version was not changed.
    """
    path = Path(own) if own else shipped_notice()
    tables = read_toml(path)
    version, title = _text(tables, "version", path), _text(tables, "title", path)
    if not _VERSION.fullmatch(version):
        raise ConfigError(
            "expected 1 to 20 letters, digits, dots or underscores",
            key="version",
            value=version,
            file=str(path),
        )
    if unknown := sorted(set(tables) - _KEYS):
        raise ConfigError(f"unknown key; known: {', '.join(sorted(_KEYS))}", key=unknown[0], file=str(path))
    summary = _text(tables, "summary", path) if "summary" in tables else ""
    _check_placeholders("summary", summary, path)
    paragraphs = _paragraphs(tables.get("paragraph"), path)
    if own:
        version += f"-{hashlib.sha256(path.read_bytes()).hexdigest()[:6]}"
    return NoticeText(version, title, paragraphs, summary)


def notice_as_markdown(notice: Notice) -> str:
    """The notice as Markdown, for docs/notice.md."""
    lines = [f"# {notice.title}", ""]
    if notice.summary:
        lines += [notice.summary, ""]
    for paragraph in notice.paragraphs:
        lines += [f"## {paragraph.heading}", "", paragraph.text, ""]
    return "\n".join([*lines, f"Notice version {notice.version}"])


def _paragraphs(found: Any, path: Path) -> tuple[Paragraph, ...]:
    if not (isinstance(found, list) and found and all(isinstance(each, dict) for each in found)):
        raise ConfigError("expected at least one [[paragraph]] with heading and text", file=str(path))
    made = tuple(Paragraph(_text(each, "heading", path), _text(each, "text", path)) for each in found)
    for paragraph in made:
        _check_placeholders("text", paragraph.text, path)
    return made


def _check_placeholders(key: str, text: str, path: Path) -> None:
    for name in _PLACEHOLDER.findall(text):
        if name != "keep_days":
            raise ConfigError(
                "unknown placeholder; known: {keep_days}", key=key, value=f"{{{name}}}", file=str(path)
            )


def _text(table: dict[str, Any], key: str, path: Path) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ConfigError("expected some text", key=key, value=value, file=str(path))
    return value.strip()
