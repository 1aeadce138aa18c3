"""All settings as Markdown: `python -m appliance.configuration.reference > docs/configuration.md`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from appliance import registry
from appliance.configuration.settings import AUTO_SETTINGS, BACKEND_SECTIONS, PLAIN_SECTIONS

_INTRODUCTION = """\
# Configuration

This page is generated from the settings in the code (`python -m appliance.configuration.reference`);
a test fails if it is out of date.

Settings are in TOML. They come from these places, and a later place wins:

1. defaults in the code
2. `/usr/lib/interview-grader/board.toml`
3. `/etc/interview-grader/config.toml`
4. `/etc/interview-grader/config.d/*.toml`
5. `page.toml` in the state directory
6. environment variables such as `INTERVIEW_GRADER__WEB__PORT=8081`
7. the command line: `--set web.port=8081`

`--config FILE` replaces places 3 and 4 with FILE and the `config.d/` next to it.
In `page.toml` only `lawful.region`, `lawful.purpose` and `lawful.institution` are used, because the page may
set only these; other keys are ignored and logged.

An unknown key is an error that suggests the most similar name. All errors are reported at once.
`interview-grader config` prints the effective settings, and where each was set.

In `[camera]`, `[engine]` and `[lamps]`, `backend` decides which other keys the section has. A place that sets
another backend discards the section's keys from earlier places.
"""


def reference_lines() -> Iterator[str]:
    """The lines of the reference."""
    yield _INTRODUCTION
    for section, default in BACKEND_SECTIONS.items():
        yield f"## [{section}]\n"
        known = ", ".join(f"`{name}`" for name in _backends(section))
        yield f'`backend` = `"{default}"` by default; known: {known}.\n'
        for name in _backends(section):
            yield from _table(f'### `{section}.backend = "{name}"`', _settings(section, name))
    for section, model in PLAIN_SECTIONS.items():
        yield from _table(f"## [{section}]", model)


def _backends(section: str) -> list[str]:
    return (["auto"] if section in AUTO_SETTINGS else []) + list(registry.KINDS[section])


def _settings(section: str, name: str) -> type[BaseModel]:
    if name == "auto":
        return AUTO_SETTINGS[section]
    return registry.load(section, name).Settings


def _table(title: str, model: type[BaseModel]) -> Iterator[str]:
    yield f"{title}\n"
    if not model.model_fields:
        yield "No settings.\n"
        return
    yield "| key | default | limits | meaning |"
    yield "|---|---|---|---|"
    for key, field in model.model_fields.items():
        yield f"| `{key}` | {_default(field)} | {_limits(field)} | {field.description} |"
    yield ""


def _default(field: FieldInfo) -> str:
    return "required" if field.is_required() else f"`{json.dumps(field.default)}`"


def _limits(field: FieldInfo) -> str:
    signs = {"gt": "above", "ge": "from", "lt": "below", "le": "to"}
    limits = [
        f"{word} {_number(getattr(limit, sign))}"
        for limit in field.metadata
        for sign, word in signs.items()
        if getattr(limit, sign, None) is not None
    ]
    choices = getattr(field.annotation, "__args__", ()) if "Literal" in str(field.annotation) else ()
    return " ".join(limits) or ", ".join(f"`{each}`" for each in choices)


def _number(value: Any) -> str:
    return f"{value:.10g}"


if __name__ == "__main__":
    sys.stdout.write("\n".join(reference_lines()))
