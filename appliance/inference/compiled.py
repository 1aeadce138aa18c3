"""Files made from a model for one accelerator: taken only if made from the very model in use."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from appliance.errors import ModelError

LISTING = "compiled.json"
"""The list in a folder of them: {file: {"sha256": its own, "from": that of the model it was made from}}."""


def find_derived(model: Path, folder: Path, name: str) -> Path:
    """The file of this name made from `model`, as the folder's list says; raises `ModelError`."""
    original, path = digest(model), folder / name
    remedy = f"make it from {model.name}: docs/accelerators.md"
    try:
        entry = json.loads((folder / LISTING).read_text(encoding="utf-8"))[name]
        wanted, made_from = str(entry["sha256"]), str(entry["from"])
    except OSError as error:
        raise ModelError(f"{folder / LISTING}: cannot be read ({error.strerror}); {remedy}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / LISTING}: names no {name}; {remedy}") from error
    if made_from != original:
        raise ModelError(
            f"{path}: compiled from {made_from[:12]}…: expected {original[:12]}…, the one in use; {remedy}"
        )
    if (found := digest(path)) != wanted:
        raise ModelError(f"{path}: sha256 {found[:12]}…: expected {wanted[:12]}… as listed; {remedy}")
    return path


def refuse_strange(path: Path) -> None:
    """As root, refuse what another user could have put there; raises `ModelError`.

    Accelerators run what is in such a file, and on a device the folders for them are the service's.
    """
    if os.geteuid() != 0:
        return
    try:
        strange = [each for each in (path, path.parent) if each.stat().st_uid != 0]
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); restore the file") from error
    if strange:
        raise ModelError(
            f"{strange[0]}: belongs to another user, and root takes nothing of theirs: run this as yourself, "
            "or with --set engine.backend=tflite"
        )


def digest(path: Path) -> str:
    """The SHA-256 of a file; raises `ModelError`."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); restore the file") from error
