"""The records: only the numbers of sessions, in one SQLite file. No other package uses SQL.

Other packages use `Store`. `store/records_file.py` opens, migrates and replaces the file; `store/database.py`
wraps SQLite; `export` makes CSV, JSON and PDF; `backup` encrypts the rows into one file.
"""

from __future__ import annotations

from appliance.records.store.ages import Clocks
from appliance.records.store.copies import EXPORTS
from appliance.records.store.queries import SessionRecord
from appliance.records.store.records_file import StoreStatus
from appliance.records.store.rows import (
    ID,
    REASONS,
    Marker,
    PersonTotals,
    Second,
    SessionSummary,
    TimelinePiece,
)
from appliance.records.store.salvage import SalvageResult
from appliance.records.store.store import StorageLimits, Store
from appliance.records.store.transfer import RestoreResult

__all__ = [
    "EXPORTS",
    "ID",
    "REASONS",
    "Clocks",
    "Marker",
    "PersonTotals",
    "RestoreResult",
    "SalvageResult",
    "Second",
    "SessionRecord",
    "SessionSummary",
    "StorageLimits",
    "Store",
    "StoreStatus",
    "TimelinePiece",
]
