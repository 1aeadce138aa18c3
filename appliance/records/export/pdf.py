"""A session as a PDF: facts, and for each person totals and a chart over time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.graphics.shapes import Drawing, Line, Polygon, String
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.platypus import KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from appliance.colours import rgb_of
from appliance.records import PersonTotals, SessionRecord, TimelinePiece
from appliance.records.export import timeline
from appliance.records.export.tables import (
    DISCLAIMER,
    SAMPLING_TEXT,
    deletion_text,
    format_length,
    format_local,
)
from appliance.values import EMOTIONS, shown_name

_WIDTH, _NAME, _ROW, _GAP = 165 * mm, 24 * mm, 9 * mm, 2 * mm
_LINE = colors.HexColor("#c5cbd3")
# Names and notes may be in any script; the built-in fonts have only Latin letters.
_FONTS = ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "/usr/share/fonts/TTF/DejaVuSans.ttf")


def as_pdf(session: SessionRecord) -> bytes:
    """The complete document. Raises `StoreError`."""
    out, summary = io.BytesIO(), session.summary
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        title=f"Session {summary.id}",
        author="Interview Grader",
        subject=f"session {summary.id}, notice version {summary.notice_version}",
        leftMargin=20 * mm,
        rightMargin=20 * mm,
    )
    document.build(list(_story(session, _font())))
    return out.getvalue()


def _font() -> str:
    for path in _FONTS:
        if Path(path).exists():
            try:
                pdfmetrics.registerFont(TTFont("Text", path))
            except TTFError:
                continue
            return "Text"
    return "Helvetica"


def _story(session: SessionRecord, font: str) -> Iterator[Any]:
    styles = getSampleStyleSheet()
    for name in ("Title", "Heading2", "BodyText"):
        styles[name].fontName = font
    summary, body = session.summary, styles["BodyText"]

    def text(words: str) -> Paragraph:
        return Paragraph(escape(words), body)

    yield Paragraph(escape(summary.label or f"Session {summary.id}"), styles["Title"])
    yield text(DISCLAIMER)
    yield text(SAMPLING_TEXT)
    yield text(deletion_text(summary))
    yield Spacer(1, 3 * mm)
    clock = "" if summary.clock_set else " (the device's clock was never set)"
    facts = {
        "Session": summary.id,
        "Agreed": format_local(summary.started) + clock,
        "Recorded": f"{format_local(summary.recorded)}, {format_length(summary.seconds)} minutes",
        "Notice": f"version {summary.notice_version}, SHA-256 {summary.notice_hash}",
        "People": f"{summary.people} agreed; {summary.persons} numbered: someone who leaves and returns may "
        "get another number",
        "Camera": summary.source,
        "Note": summary.note,
    }
    rows = [[text(name), text(value)] for name, value in facts.items() if value]
    yield Table(rows, colWidths=[_NAME + 4 * mm, None], style=_table_style(), hAlign="LEFT")
    view = timeline.view(session)
    for totals in view.totals:
        charted = totals.person in view.charted
        yield KeepTogether(list(_person(session, totals, charted, styles, text, font)))
    if view.summary():
        yield text(view.summary())
    if session.markers:
        yield Paragraph("Markers", styles["Heading2"])
        rows = [[text(format_length(int(each.at))), text(each.text)] for each in session.markers]
        yield Table(rows, colWidths=[_NAME, None], style=_table_style(), hAlign="LEFT")


def _person(
    session: SessionRecord, totals: PersonTotals, charted: bool, styles: Any, text: Any, font: str
) -> Iterator[Any]:
    yield Paragraph(f"Person {totals.person}", styles["Heading2"])
    reasons = ", ".join(f"{name} {count}" for name, count in totals.unreadable.items()) or "none"
    yield text(
        f"Seen for {totals.seconds} seconds, in {totals.frames} camera frames. The means use {totals.scored} "
        f"of them; {totals.skipped} more were not analysed. Not readable: {reasons}. "
        f"Nods: {totals.nods}, head shakes: {totals.shakes}."
    )
    if totals.means:
        names = [text(shown_name(name)) for name in EMOTIONS]
        means = [text(f"{totals.means[name]:.2f}") for name in EMOTIONS]
        yield Table([names, means], style=_table_style(), hAlign="LEFT")
    if charted:
        yield Spacer(1, 2 * mm)
        yield _chart(session, timeline.pieces(session, totals.person), font)


def _chart(session: SessionRecord, parts: list[TimelinePiece], font: str) -> Drawing:
    length, plot = session.summary.seconds, _WIDTH - _NAME
    height = len(EMOTIONS) * (_ROW + _GAP) + 5 * mm
    drawing = Drawing(_WIDTH, height)
    for index, emotion in enumerate(EMOTIONS):
        base = height - index * (_ROW + _GAP) - _ROW
        drawing.add(String(0, base + 2, shown_name(emotion), fontSize=8, fontName=font))
        drawing.add(Line(_NAME, base, _WIDTH, base, strokeColor=_LINE, strokeWidth=0.5))
        red, green, blue = (channel / 255 for channel in rgb_of(emotion))
        for area in timeline.areas(parts, emotion, length, plot, _ROW):
            flat = [each for x, y in area for each in (_NAME + x, base + _ROW - y)]
            drawing.add(Polygon(flat, fillColor=colors.Color(red, green, blue), strokeColor=None))
    for marker in session.markers:
        x = _NAME + plot * min(1.0, marker.at / max(1, length))
        drawing.add(
            Line(x, 5 * mm, x, height, strokeColor=colors.black, strokeWidth=0.5, strokeDashArray=[2, 2])
        )
    drawing.add(String(_NAME, 0, "0:00", fontSize=7, fontName=font))
    drawing.add(String(_WIDTH, 0, format_length(length), fontSize=7, fontName=font, textAnchor="end"))
    return drawing


def _table_style() -> TableStyle:
    return TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE)])
