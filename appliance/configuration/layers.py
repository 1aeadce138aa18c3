"""The layers of the configuration: files, environment and command line, each value with where it was set."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from appliance import registry
from appliance.configuration.page_file import KEYS, PAGE_FILE
from appliance.configuration.settings import CHOICES, PLAIN
from appliance.errors import BackendMissing, ConfigError
from appliance.system import toml

log = logging.getLogger("appliance.layers")

BOARD_FILE = Path("/usr/lib/interview-grader/board.toml")
OWNER_FILE = Path("/etc/interview-grader/config.toml")
ENVIRONMENT = "INTERVIEW_GRADER__"
_NAMED = 5
"""Of more keys that are ignored, the log names these."""


@dataclass(frozen=True)
class Layer:
    """One source of settings: where it stands, and section -> key -> value."""

    origin: str
    values: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Request:
    """What the command line says about configuration."""

    config: Path | None = None
    data_dir: Path | None = None
    settings: Sequence[str] = ()
    camera: str | None = None
    host: str | None = None
    port: str | None = None


def read_layers(
    request: Request, environment: Mapping[str, str], state: Path, problems: list[ConfigError]
) -> list[Layer]:
    """Every layer that is there, the weakest first; what cannot be read is added to `problems`.

    What is wrong with the page's file is only logged.
    """
    owner = request.config or OWNER_FILE
    files = [BOARD_FILE, owner, *sorted((owner.parent / "config.d").glob("*.toml"))]
    layers = []
    for path in files:
        try:
            if path == request.config or path.exists():
                layers.append(_file_layer(path, problems))
        except OSError as error:
            problems.append(ConfigError(f"cannot be read ({error.strerror})", file=str(path)))
    try:
        page = state / PAGE_FILE
        layers += [_page_layer(page)] if page.exists() else []
    except OSError as error:
        problems.append(ConfigError(f"cannot be read ({error.strerror})", file=str(page)))
    layers.append(_environment_layer(environment))
    layers.append(_command_line_layer(request, problems))
    return layers


def _file_layer(path: Path, problems: list[ConfigError]) -> Layer:
    try:
        tables = toml.read(path)
    except ConfigError as error:
        problems.append(error)
        return Layer(str(path), {})
    for name, table in tables.items():
        if not isinstance(table, dict):
            problems.append(
                ConfigError("stands outside a section; write it below [section]", key=name, file=str(path))
            )
    return Layer(str(path), {name: table for name, table in tables.items() if isinstance(table, dict)})


def _page_layer(path: Path) -> Layer:
    """What the page has set: sound values of `KEYS`. Nothing in its file stops a start."""
    try:
        if not path.is_file():  # a pipe or a device would never end
            raise ConfigError("cannot be read: expected a file", file=str(path))
        tables = toml.read(path)
    except ConfigError as error:
        log.warning("the settings of the page are ignored: %s", " ".join(str(error).split()))
        return Layer(str(path), {})
    values: dict[str, dict[str, Any]] = {}
    ignored = []
    for section, table in tables.items():
        for key, value in table.items() if isinstance(table, dict) else [("", None)]:
            if f"{section}.{key}" in KEYS and _is_sound(section, key, value):
                values.setdefault(section, {})[key] = value
            else:
                ignored.append(f"{section}.{key}".rstrip(".").encode("unicode_escape").decode())
    if ignored:
        more = f" and {len(ignored) - _NAMED} more" if len(ignored) > _NAMED else ""
        names = ", ".join(sorted(ignored)[:_NAMED])
        log.warning("%s: ignored, the page may not set this: %s%s; remove it there", path, names, more)
    return Layer(str(path), values)


def _is_sound(section: str, key: str, value: Any) -> bool:
    try:
        PLAIN[section].model_validate({key: value})
    except ValidationError:
        return False
    return True


def _environment_layer(environment: Mapping[str, str]) -> Layer:
    values: dict[str, dict[str, Any]] = {}
    for name, text in sorted(environment.items()):
        section, _, key = name.removeprefix(ENVIRONMENT).lower().partition("__")
        if name.startswith(ENVIRONMENT):
            values.setdefault(section, {})[key] = toml.value(text)
    return Layer("environment", values)


def _command_line_layer(request: Request, problems: list[ConfigError]) -> Layer:
    values: dict[str, dict[str, Any]] = {}
    for section, key, short in (("web", "host", request.host), ("web", "port", request.port)):
        if short is not None:
            values.setdefault(section, {})[key] = short
    if request.camera is not None:
        values["camera"] = _camera_argument(request.camera, problems)
    for text in request.settings:
        name, equals, value = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            problems.append(
                ConfigError("expected SECTION.KEY=VALUE, as in --set web.port=8080", key="--set", value=text)
            )
        else:
            values.setdefault(section, {})[key] = toml.value(value)
    return Layer("command line", values)


def _camera_argument(text: str, problems: list[ConfigError]) -> dict[str, Any]:
    backend, colon, argument = text.partition(":")
    values: dict[str, Any] = {"backend": backend}
    if not colon:
        return values
    try:
        key = "" if backend == "auto" else registry.load("camera", backend).argument
    except BackendMissing:
        return values  # named again, as a problem, when the section is filled
    if not key or not argument:
        problems.append(ConfigError(_wants(backend, key), key="--camera", value=text))
        return {}
    return {**values, key: argument}


def _wants(backend: str, key: str) -> str:
    if not key:
        return f"{backend} takes no argument; expected --camera {backend}"
    return f"the {key} is missing after the colon; expected --camera {backend}:{key.upper()}"


def merge(
    layers: Sequence[Layer], problems: list[ConfigError]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Later layers win; one that names another backend starts the section anew: keys are the backend's."""
    merged: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    known = [*CHOICES, *PLAIN]
    for layer in layers:
        for section, table in layer.values.items():
            if section not in known:
                reason = f"unknown section{nearest(section, known)}"
                problems.append(ConfigError(reason, key=section, file=layer.origin))
                continue
            before = merged.setdefault(section, {})
            changed = section in CHOICES and "backend" in table
            if changed and table["backend"] != before.get("backend", CHOICES[section]):
                before.clear()
            before.update(table)
            origins.update({f"{section}.{key}": layer.origin for key in table})
    kept = {f"{section}.{key}" for section, table in merged.items() for key in table}
    return merged, {key: origin for key, origin in origins.items() if key in kept}


def nearest(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """What to say about an unknown name: the known one that is most like it, or all of them."""
    near = closest(name, known)
    return f"; did you mean {near!r}?" if near else f"; known: {', '.join(known)}"


def closest(name: str, known: Sequence[str] | Mapping[str, Any]) -> str | None:
    """The known name that is most like an unknown one; None where none is."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)), None)
