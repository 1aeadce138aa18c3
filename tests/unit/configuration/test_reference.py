"""docs/configuration.md is made from the settings and must not drift from them."""

from pathlib import Path

from appliance import registry
from appliance.configuration.reference import pages
from appliance.configuration.settings import CHOICES, PLAIN

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"


def test_the_reference_is_current() -> None:
    made = "\n".join(pages())
    assert DOCUMENT.read_text() == made, (
        "stale: python -m appliance.configuration.reference > docs/configuration.md"
    )


def test_every_section_and_every_key_is_in_it() -> None:
    text = DOCUMENT.read_text()
    models = [registry.load(kind, name).Settings for kind in CHOICES for name in registry.KINDS[kind]]
    for section in (*CHOICES, *PLAIN):
        assert f"[{section}]" in text
    for model in (*models, *PLAIN.values()):
        for key, field in model.model_fields.items():
            assert f"| `{key}` |" in text
            assert field.description, f"{model.__name__}.{key} has no line of help"
