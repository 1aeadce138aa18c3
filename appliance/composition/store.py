"""Builds the records."""

from __future__ import annotations

from pathlib import Path

from appliance.audit import AuditLog
from appliance.configuration.settings import StorageSettings
from appliance.records import StorageLimits, Store


def make_store(storage: StorageSettings, state_dir: Path, audit: AuditLog) -> Store:
    """The records. The audit log records when rows expire or are set aside."""
    limits = StorageLimits(storage.keep_days, storage.min_free_mb)
    return Store(state_dir, limits, on_event=lambda **details: audit.require("storage", "timer", **details))
