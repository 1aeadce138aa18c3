"""Where the files that come with the project lie: in the installed package, or in the checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def models_dir(own: str = "") -> Path:
    """The folder of the models and their manifest: one's own (`vision.models`), or the one that ships."""
    if own:
        return Path(own)
    installed = _PACKAGE / "_models"
    return installed if installed.is_dir() else _PACKAGE.parent / "models"


def demo_clip() -> Path:
    """The clip that is played where there is no camera."""
    return models_dir() / "demo" / "demo.mp4"


def model_card(models: Path) -> str:
    """The card that lies beside the models, Markdown; says so where there is none."""
    try:
        return (models / "MODEL_CARD.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return (
            "# No model card\n\nThe models in use came without a MODEL_CARD.md. "
            "Nothing is known here about what they were made from or how good they are."
        )
