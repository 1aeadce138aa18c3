"""docs/configuration.md is generated from the settings and must be up to date."""

from pathlib import Path

from appliance import registry
from appliance.configuration.reference import reference_lines
from appliance.configuration.settings import BACKEND_SECTIONS, PLAIN_SECTIONS

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"


def test_the_reference_is_current() -> None:
    made = "\n".join(reference_lines())
    assert DOCUMENT.read_text() == made, (
        "stale: python -m appliance.configuration.reference > docs/configuration.md"
    )


def test_the_reference_has_every_section_and_key() -> None:
    text = DOCUMENT.read_text()
    models = [
        registry.load(kind, name).Settings for kind in BACKEND_SECTIONS for name in registry.KINDS[kind]
    ]
    for section in (*BACKEND_SECTIONS, *PLAIN_SECTIONS):
        assert f"[{section}]" in text
    for model in (*models, *PLAIN_SECTIONS.values()):
        for key, field in model.model_fields.items():
            assert f"| `{key}` |" in text
            assert field.description, f"{model.__name__}.{key} has no line of help"
