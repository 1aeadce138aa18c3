"""The records: numbers of sessions in one SQLite file, and nothing else. Only this package knows SQL.

`records` is the store that others use; `holder` opens and sweeps its file; `database` knows SQLite.
"""

from __future__ import annotations

from appliance.records.store.clocks import Clocks
from appliance.records.store.copies import EXPORTS
from appliance.records.store.limits import Limits, Status
from appliance.records.store.queries import Session
from appliance.records.store.rows import REASONS, Figures, Kept, Marker, Piece, Second
from appliance.records.store.salvage import Salvaged
from appliance.records.store.store import Store
from appliance.records.store.transfer import Restored
from appliance.records.store.validation import ID

__all__ = [
    "EXPORTS",
    "ID",
    "REASONS",
    "Clocks",
    "Figures",
    "Kept",
    "Limits",
    "Marker",
    "Piece",
    "Restored",
    "Salvaged",
    "Second",
    "Session",
    "Status",
    "Store",
]
