"""Models compiled for an accelerator; accepted only if compiled from the model in use."""

from __future__ import annotations

import json
import os
from pathlib import Path

from appliance.errors import ModelError
from appliance.inference.manifest import file_digest

LISTING = "compiled.json"
"""The list in their folder: {file: {"sha256": its digest, "from": its source model's digest}}."""


def find_compiled(model: Path, folder: Path, name: str) -> Path:
    """The file `name` in `folder`; raises `ModelError` unless it is listed as compiled from `model`."""
    original, path = file_digest(model), folder / name
    remedy = f"compile {model.name} again: docs/accelerators.md"
    try:
        entry = json.loads((folder / LISTING).read_text(encoding="utf-8"))[name]
        wanted, made_from = str(entry["sha256"]), str(entry["from"])
    except OSError as error:
        raise ModelError(f"{folder / LISTING}: cannot be read ({error.strerror}); {remedy}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / LISTING}: does not list {name}; {remedy}") from error
    if made_from != original:
        raise ModelError(
            f"{path}: compiled from {made_from[:12]}…: expected {original[:12]}…, now in use; {remedy}"
        )
    if (found := file_digest(path)) != wanted:
        raise ModelError(f"{path}: sha256 {found[:12]}…: expected {wanted[:12]}… as listed; {remedy}")
    return path


def refuse_foreign_owner(path: Path) -> None:
    """As root, raises `ModelError` for a file that another user could have written.

    Accelerators execute such files, and on a device their folders belong to the service's user.
    """
    if os.geteuid() != 0:
        return
    try:
        foreign = [each for each in (path, path.parent) if each.stat().st_uid != 0]
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); restore the file") from error
    if foreign:
        raise ModelError(
            f"{foreign[0]}: belongs to another user, so root does not load it; run this without root, or "
            "with --set engine.backend=tflite"
        )
