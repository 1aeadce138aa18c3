"""The layers of the configuration: files, environment and command line, with the origin of each value."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from appliance import registry
from appliance.configuration.page_file import PAGE_FILE, PAGE_KEYS
from appliance.configuration.settings import BACKEND_SECTIONS, PLAIN_SECTIONS
from appliance.errors import BackendMissing, ConfigError
from appliance.system.toml import parse_toml_value, read_toml

log = logging.getLogger("appliance.layers")

BOARD_FILE = Path("/usr/lib/interview-grader/board.toml")
OWNER_FILE = Path("/etc/interview-grader/config.toml")
ENVIRONMENT = "INTERVIEW_GRADER__"
_MOST_NAMED = 5
"""Maximum number of ignored keys that the log names."""


@dataclass(frozen=True)
class Layer:
    """One source of settings: its origin, and section -> key -> value."""

    origin: str
    values: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class ConfigOptions:
    """The options of the command line that concern the configuration."""

    config: Path | None = None
    data_dir: Path | None = None
    settings: Sequence[str] = ()
    camera: str | None = None
    host: str | None = None
    port: str | None = None


def read_layers(
    options: ConfigOptions, environment: Mapping[str, str], state: Path, problems: list[ConfigError]
) -> list[Layer]:
    """Every existing layer, weakest first; adds unreadable ones to `problems`.

    Problems in the page's file are only logged.
    """
    owner = options.config or OWNER_FILE
    files = [BOARD_FILE, owner, *sorted((owner.parent / "config.d").glob("*.toml"))]
    layers = []
    for path in files:
        try:
            if path == options.config or path.exists():
                layers.append(_file_layer(path, problems))
        except OSError as error:
            problems.append(ConfigError(f"cannot be read ({error.strerror})", file=str(path)))
    try:
        page = state / PAGE_FILE
        layers += [_page_layer(page)] if page.exists() else []
    except OSError as error:
        problems.append(ConfigError(f"cannot be read ({error.strerror})", file=str(page)))
    layers.append(_environment_layer(environment))
    layers.append(_command_line_layer(options, problems))
    return layers


def _file_layer(path: Path, problems: list[ConfigError]) -> Layer:
    try:
        tables = read_toml(path)
    except ConfigError as error:
        problems.append(error)
        return Layer(str(path), {})
    for name, table in tables.items():
        if not isinstance(table, dict):
            problems.append(
                ConfigError("is outside a section; put it below a [section]", key=name, file=str(path))
            )
    return Layer(str(path), {name: table for name, table in tables.items() if isinstance(table, dict)})


def _page_layer(path: Path) -> Layer:
    """The page's settings: valid values of `PAGE_KEYS`. Nothing in its file prevents a start."""
    try:
        if not path.is_file():  # reading a pipe or a device would never end
            raise ConfigError("cannot be read: expected a file", file=str(path))
        tables = read_toml(path)
    except ConfigError as error:
        log.warning("the page's settings are ignored: %s", " ".join(str(error).split()))
        return Layer(str(path), {})
    values: dict[str, dict[str, Any]] = {}
    ignored = []
    for section, table in tables.items():
        for key, value in table.items() if isinstance(table, dict) else [("", None)]:
            if f"{section}.{key}" in PAGE_KEYS and _is_valid(section, key, value):
                values.setdefault(section, {})[key] = value
            else:
                ignored.append(f"{section}.{key}".rstrip(".").encode("unicode_escape").decode())
    if ignored:
        more = f" and {len(ignored) - _MOST_NAMED} more" if len(ignored) > _MOST_NAMED else ""
        names = ", ".join(sorted(ignored)[:_MOST_NAMED])
        log.warning("%s: ignored keys that the page may not set: %s%s; remove them", path, names, more)
    return Layer(str(path), values)


def _is_valid(section: str, key: str, value: Any) -> bool:
    try:
        PLAIN_SECTIONS[section].model_validate({key: value})
    except ValidationError:
        return False
    return True


def _environment_layer(environment: Mapping[str, str]) -> Layer:
    values: dict[str, dict[str, Any]] = {}
    for name, text in sorted(environment.items()):
        section, _, key = name.removeprefix(ENVIRONMENT).lower().partition("__")
        if name.startswith(ENVIRONMENT):
            values.setdefault(section, {})[key] = parse_toml_value(text)
    return Layer("environment", values)


def _command_line_layer(options: ConfigOptions, problems: list[ConfigError]) -> Layer:
    values: dict[str, dict[str, Any]] = {}
    for section, key, short in (("web", "host", options.host), ("web", "port", options.port)):
        if short is not None:
            values.setdefault(section, {})[key] = short
    if options.camera is not None:
        values["camera"] = _camera_argument(options.camera, problems)
    for text in options.settings:
        name, equals, value = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            problems.append(
                ConfigError(
                    "expected SECTION.KEY=VALUE, such as --set web.port=8080", key="--set", value=text
                )
            )
        else:
            values.setdefault(section, {})[key] = parse_toml_value(value)
    return Layer("command line", values)


def _camera_argument(text: str, problems: list[ConfigError]) -> dict[str, Any]:
    backend, colon, argument = text.partition(":")
    values: dict[str, Any] = {"backend": backend}
    if not colon:
        return values
    try:
        key = "" if backend == "auto" else registry.load("camera", backend).argument
    except BackendMissing:
        return values  # reported when the section is validated
    if not key or not argument:
        problems.append(ConfigError(_argument_problem(backend, key), key="--camera", value=text))
        return {}
    return {**values, key: argument}


def _argument_problem(backend: str, key: str) -> str:
    if not key:
        return f"{backend} takes no argument; expected --camera {backend}"
    return f"the {key} is missing after the colon; expected --camera {backend}:{key.upper()}"


def merge_layers(
    layers: Sequence[Layer], problems: list[ConfigError]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Merge the layers; later ones win. A layer with another backend clears the section's earlier keys."""
    merged: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    known = [*BACKEND_SECTIONS, *PLAIN_SECTIONS]
    for layer in layers:
        for section, table in layer.values.items():
            if section not in known:
                reason = f"unknown section{suggest(section, known)}"
                problems.append(ConfigError(reason, key=section, file=layer.origin))
                continue
            before = merged.setdefault(section, {})
            changed = section in BACKEND_SECTIONS and "backend" in table
            if changed and table["backend"] != before.get("backend", BACKEND_SECTIONS[section]):
                before.clear()
            before.update(table)
            origins.update({f"{section}.{key}": layer.origin for key in table})
    kept = {f"{section}.{key}" for section, table in merged.items() for key in table}
    return merged, {key: origin for key, origin in origins.items() if key in kept}


def suggest(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """The end of a message about an unknown name: the most similar known name, or all known names."""
    near = closest_name(name, known)
    return f"; did you mean {near!r}?" if near else f"; known: {', '.join(known)}"


def closest_name(name: str, known: Sequence[str] | Mapping[str, Any]) -> str | None:
    """The most similar known name; None if none is similar."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)), None)
