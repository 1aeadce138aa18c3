"""The records: numbers of sessions in one SQLite file, and nothing else. Only this package knows SQL.

`records` is the store that others use; `holder` opens and sweeps its file; `database` knows SQLite.
"""

from __future__ import annotations

from appliance.store.clocks import Clocks
from appliance.store.copies import EXPORTS
from appliance.store.history import Session
from appliance.store.limits import Limits, Status
from appliance.store.records import Store
from appliance.store.rows import REASONS, Figures, Kept, Marker, Piece, Second
from appliance.store.salvage import Salvaged
from appliance.store.transfer import Restored
from appliance.store.validation import ID

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
