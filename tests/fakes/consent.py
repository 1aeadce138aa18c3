"""Consent for tests: terms, sessions, and records in memory."""

from __future__ import annotations

import threading
from typing import Any

from appliance.consent.law import Paragraph
from appliance.consent.notice import KEEP_DAYS, NoticeText, read_notice
from appliance.consent.session import Session
from appliance.consent.terms import Terms
from appliance.errors import StoreError
from appliance.values import SessionInfo

NOTICE = read_notice().fill(KEEP_DAYS).version
"""The version of the shipped notice."""


def make_terms(version: str = "1", **more: Any) -> Terms:
    """Terms under which living people may be analysed, with a notice of this version."""
    text = NoticeText(version, "A notice", (Paragraph("What is read", "Faces."),))
    settings = {"keep_days": KEEP_DAYS, "region": "other", "purpose": "practice", **more}
    return Terms(text, **settings)


def make_session(version: str = "1", *, needs_consent: bool = True, **more: Any) -> Session:
    return Session(make_terms(version), needs_consent=needs_consent, **more)


class MemoryRecords:
    """`Records` in memory; with `full`, recording cannot start."""

    def __init__(self) -> None:
        self.full = False
        self.kept: dict[str, SessionInfo] = {}
        self.ended: list[str] = []
        self.erased: list[str] = []
        self.marks: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def begin(self, session: SessionInfo) -> None:
        if self.full:
            raise StoreError("0 MB are free; expected at least 200: erase sessions or make room")
        with self._lock:
            self.kept[session.id] = session

    def end(self, id: str) -> None:
        with self._lock:
            self.ended.append(id)

    def mark(self, id: str, text: str) -> None:
        with self._lock:
            self.marks.append((id, text))

    def erase(self, id: str) -> None:
        with self._lock:
            self.erased.append(id)
            self.kept.pop(id, None)

    def find_link(self, link_hash: str) -> str | None:
        with self._lock:
            return next((id for id, session in self.kept.items() if session.link_hash == link_hash), None)
