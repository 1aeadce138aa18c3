"""Exports: required texts, and the figures and charts of a session."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.records import Marker, Second, SessionRecord, SessionSummary
from appliance.records.export import pdf, tables, timeline
from appliance.records.export.pdf import as_pdf
from appliance.records.export.tables import DISCLAIMER, SAMPLING_TEXT, deletion_text, format_local
from appliance.values import EMOTIONS
from tests.fakes.records import DAY_S, ID, NOW, make_store, second, session_info

KEPT = SessionSummary(
    id=ID,
    started=NOW,
    recorded=NOW + 5,
    ended=NOW + 65,
    ending="stopped",
    clock_set=True,
    expires=NOW + 7 * DAY_S,
    people=2,
    persons=2,
    seconds=60,
    notice_version="4",
    notice_hash="ab" * 32,
    source="usb",
    label="practice",
    note="",
)


def as_json(session: SessionRecord) -> dict[str, Any]:
    table: dict[str, Any] = json.loads("".join(tables.as_json(session)))
    return table


def as_csv(session: SessionRecord) -> str:
    return "".join(tables.as_csv(session))


def stored(folder: Path, seconds: Iterable[Second] = ()) -> SessionRecord:
    """A session with these rows in a real file, without markers."""
    store = make_store(folder)
    store.begin(session_info())
    store.add(ID, seconds)
    session = store.session(ID)
    assert session is not None
    store.close()
    return session


@pytest.fixture
def session(tmp_path: Path) -> SessionRecord:
    first = [second(number, happy=number / 100) for number in range(60)]
    other = [second(number, 2, scored=0, turned=10, happy=None) for number in range(10, 20)]
    return replace(stored(tmp_path, [*first, *other]), summary=KEPT, markers=(Marker(12.5, "question 2"),))


@pytest.mark.parametrize(
    ("version", "hiring"),
    [
        ("1-us-hiring", True),
        ("1-other-hiring-14d", True),
        ("2-abc123-us-hiring", True),
        ("2-us2-hiring", True),
        ("1", False),
        ("1-eu2-practice", False),
        ("1-30d", False),
    ],
)
def test_exports_for_hiring_have_the_date_by_which_they_must_be_deleted(
    session: SessionRecord, version: str, hiring: bool
) -> None:
    session = replace(session, summary=replace(session.summary, notice_version=version))
    by = format_local(session.summary.ended + 30 * DAY_S)[:10] if session.summary.ended else ""
    table = as_json(session)
    assert table["session"]["delete_copies_by"] == (by if hiring else None)
    for words in (table["deletion"], as_csv(session)):
        assert (f"must be deleted by {by}" in words) is hiring
        assert ("820 ILCS 42" in words) is hiring
    unset = replace(session.summary, notice_version=version, clock_set=False)
    assert ("within 30 days" in deletion_text(unset)) is hiring


def test_json_contains_everything(session: SessionRecord) -> None:
    table = as_json(session)
    assert table["about"] == DISCLAIMER
    assert table["sampling"] == SAMPLING_TEXT
    assert table["session"]["notice"] == {"version": "4", "hash": "ab" * 32}
    assert table["session"]["deleted_about"] == "2026-11-25T11:06:40Z"
    assert table["markers"] == [{"at": 12.5, "text": "question 2"}]
    first, other = table["persons"]
    assert len(first["timeline"]) == 60
    assert list(first["means"]) == list(EMOTIONS)
    assert first["means"]["happy"] == pytest.approx(0.295)
    assert first["timeline"][3]["scored"] == 9
    assert other["means"] is None
    assert other["timeline"][0]["emotions"] is None
    assert other["timeline"][0]["not_readable"] == {"small": 1, "turned": 10}


def test_csv_has_a_header_and_one_line_a_second(session: SessionRecord) -> None:
    lines = list(csv.reader(as_csv(session).splitlines()))
    facts = {line[0]: line[1:] for line in lines if line[0].startswith("#")}
    assert facts["# notice version"] == ["4"]
    assert facts["# about"] == [DISCLAIMER]
    assert facts["# sampling"] == [SAMPLING_TEXT]
    assert "2026-11-25" in facts["# deletion"][0]
    assert facts["# marker"] == ["12.5", "question 2"]
    header, *rows = [line for line in lines if not line[0].startswith("#")]
    assert len(rows) == 70
    assert rows[3][header.index("happy")] == "0.03"
    assert rows[3][header.index("scored")] == "9"
    assert rows[65][header.index("happy")] == ""


@pytest.mark.parametrize("label", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx"])
def test_labels_are_not_formulas_in_a_spreadsheet(session: SessionRecord, label: str) -> None:
    named = replace(session, summary=replace(KEPT, label=label), markers=(Marker(1.0, label),))
    lines = list(csv.reader(as_csv(named).splitlines()))
    assert ["# label", f"'{label}"] in lines
    assert ["# marker", "1.0", f"'{label}"] in lines


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_no_export_has_a_total_score(session: SessionRecord, kind: str) -> None:
    text = "".join(tables.as_json(session) if kind == "json" else tables.as_csv(session))
    for word in ("total", "rank", "overall", "grade"):
        assert word not in text.lower()


def test_pdf_is_valid_and_contains_the_session_id(session: SessionRecord) -> None:
    content = as_pdf(session)
    assert content.startswith(b"%PDF-")
    assert ID.encode() in content, "so that erasing finds the export"


def test_pdf_shows_fear_as_fearful_in_table_and_chart(
    session: SessionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, list[str]] = {"Paragraph": [], "String": []}
    for name, at in (("Paragraph", 0), ("String", 2)):
        made = getattr(pdf, name)

        def note(*values: Any, _made: Any = made, _name: str = name, _at: int = at, **more: Any) -> Any:
            shown[_name].append(values[_at])
            return _made(*values, **more)

        monkeypatch.setattr(pdf, name, note)
    as_pdf(session)
    for texts in shown.values():
        assert "fearful" in texts and "fear" not in texts


@pytest.mark.parametrize(
    "label",
    ["<b>bold", "&amp; &", "日本語", "x" * 500, "a\nb", "", "\ud800"[:0] + "🙂", "<para><img src='x'/>"],
)
def test_pdf_accepts_any_label(session: SessionRecord, label: str) -> None:
    named = replace(session, summary=replace(KEPT, label=label, note=label), markers=(Marker(70.0, label),))
    assert as_pdf(named).startswith(b"%PDF-")


def test_exports_of_a_session_without_persons_and_seconds(tmp_path: Path) -> None:
    kept = replace(KEPT, persons=0, seconds=0, ended=None, expires=None, clock_set=False)
    session = replace(stored(tmp_path), summary=kept, markers=(Marker(0.0, "x"),))
    assert as_pdf(session).startswith(b"%PDF-")
    assert as_json(session)["persons"] == []
    assert as_csv(session).splitlines()[-1].startswith("person,second,angry")


def test_pieces_are_weighted_by_their_frames(tmp_path: Path) -> None:
    seconds = [second(0, happy=1.0, scored=1), second(1, happy=0.0, scored=3), second(2, scored=0)]
    session = stored(tmp_path, [*seconds, second(3, scored=0)])
    whole = timeline.pieces(session, 1, most=1)
    assert [(each.start, each.length, each.scored) for each in whole] == [(0, 4, 4)]
    assert whole[0].means is not None
    assert whole[0].means["happy"] == 0.25
    assert timeline.pieces(session, 1, most=4)[2].means is None


@pytest.mark.parametrize("length", [1, 59, 240, 241, 3600, 86_400])
def test_a_chart_has_few_pieces_however_long(tmp_path: Path, length: int) -> None:
    session = stored(tmp_path, [second(number) for number in (*range(0, length, 7), length - 1)])
    parts = timeline.pieces(session, 1)
    assert len(parts) <= timeline.MOST_PIECES
    for area in timeline.areas(parts, "happy", length, 600, 26):
        assert all(0 <= x <= 600 and 0 <= y <= 26 for x, y in area)


def test_a_gap_is_a_gap(tmp_path: Path) -> None:
    parts = timeline.pieces(stored(tmp_path, [second(0), second(1), second(3)]), 1)
    areas = timeline.areas(parts, "happy", 4, 400, 100)
    assert [(area[0][0], area[-1][0]) for area in areas] == [(0, 200), (300, 400)]
