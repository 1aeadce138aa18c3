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

This page is made from the settings in the code (`python -m appliance.configuration.reference`);
a test fails when it is stale.

Settings are TOML. Later places win: defaults in the code, `/usr/lib/interview-grader/board.toml`,
`/etc/interview-grader/config.toml`, `/etc/interview-grader/config.d/*.toml`, `page.toml` in the state
directory, environment variables such as `INTERVIEW_GRADER__WEB__PORT=8081`, the command line
(`--set web.port=8081`).
`--config FILE` takes FILE, and the `config.d/` beside it, instead of the two places under `/etc`.
Of `page.toml` only what the page may set counts (`lawful.region`, `lawful.purpose`,
`lawful.institution`); the rest is ignored, with a line in the log.

An unknown key is refused with the nearest known name; all problems are told at once.
`interview-grader config` prints what is in force and where it was set.

In `[camera]`, `[engine]` and `[lamps]` the key `backend` comes first; the other keys are that backend's own,
so a place that names another backend starts the section anew.
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
    yield "| key | default | limits | what it is |"
    yield "|---|---|---|---|"
    for key, field in model.model_fields.items():
        yield f"| `{key}` | {_default(field)} | {_limits(field)} | {field.description} |"
    yield ""


def _default(field: FieldInfo) -> str:
    return "must be given" if field.is_required() else f"`{json.dumps(field.default)}`"


def _limits(field: FieldInfo) -> str:
    signs = {"gt": "over", "ge": "from", "lt": "under", "le": "to"}
    limits = [
        f"{word} {_number(getattr(limit, sign))}"
        for limit in field.metadata
        for sign, word in signs.items()
        if getattr(limit, sign, None) is not None
    ]
    choices = getattr(field.annotation, "__args__", ()) if "Literal" in str(field.annotation) else ()
    return " ".join(limits) or ", ".join(f"`{each}`" for each in choices)


def _number(value: Any) -> str:
    return f"{value:g}"


if __name__ == "__main__":
    sys.stdout.write("\n".join(reference_lines()))
