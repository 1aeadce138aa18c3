"""The statements that the store writes a session with."""

from __future__ import annotations

from typing import Any, NamedTuple

from appliance.records.store.clocks import CLOCK_SET
from appliance.records.store.rows import COLUMNS
from appliance.values import SessionInfo

LONGEST_TEXT = 200
"""Characters of a marker."""

BEGIN = (
    "INSERT INTO sessions (id, started, recorded, clock_set, began_lived, people, notice_version,"
    " notice_hash, source, link_hash, label, note) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET ended = NULL, ended_lived = NULL, ending = '',"
    " label = excluded.label, note = excluded.note"
)
IS_OPEN = "SELECT 1 FROM sessions WHERE id = ? AND ended IS NULL"
ADD = (
    f"INSERT OR IGNORE INTO seconds (session, {', '.join(COLUMNS)}) "
    f"SELECT ?, {', '.join('?' * len(COLUMNS))} WHERE EXISTS ({IS_OPEN})"
)
MARK = f"INSERT INTO markers (session, at, text) SELECT ?, ?, ? WHERE EXISTS ({IS_OPEN})"
ERASED = "session {} was erased by another process"
END = "UPDATE sessions SET ended = recorded + ?, ended_lived = ?, ending = ? WHERE id = ? AND ended IS NULL"


class Start(NamedTuple):
    """When recording began: monotonic seconds, Unix seconds, seconds lived."""

    monotonic: float
    wall: float
    lived: float


def values_of(session: SessionInfo, start: Start) -> tuple[Any, ...]:
    """What `BEGIN` takes."""
    words = (session.notice_version, session.notice_hash, session.source, session.link_hash)
    return (
        *(session.id, session.started, start.wall, int(start.wall >= CLOCK_SET), start.lived, session.people),
        *(*words, session.label, session.note),
    )
