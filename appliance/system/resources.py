"""Paths of the files that ship with the project: in the installed package, or in the checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def models_dir(own: str = "") -> Path:
    """The folder of the models and their manifest: `own` (from `vision.models`), or the included one."""
    if own:
        return Path(own)
    installed = _PACKAGE / "_models"
    return installed if installed.is_dir() else _PACKAGE.parent / "models"


def demo_clip() -> Path:
    """The clip that is played if there is no camera."""
    return models_dir() / "demo" / "demo.mp4"


def model_card(models: Path) -> str:
    """The models' card, Markdown; a substitute if it is missing."""
    try:
        return (models / "MODEL_CARD.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return (
            "# No model card\n\nThe models in use have no MODEL_CARD.md, so their training data and quality "
            "are unknown."
        )
