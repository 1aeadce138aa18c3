"""Configuration: layers of TOML, environment and command line become typed settings, all problems at once."""

from __future__ import annotations

import difflib
import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance import registry, toml
from appliance.errors import BackendMissing, ConfigError, ConfigErrors

BOARD_FILE = Path("/usr/lib/interview-grader/board.toml")
OWNER_FILE = Path("/etc/interview-grader/config.toml")
ENVIRONMENT = "INTERVIEW_GRADER__"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AutoCamera(_Section):
    """Settings of `camera.backend = "auto"`: csi, then usb, then the demo clip."""

    width: int = Field(1280, ge=16, le=7680, description="Width to ask the camera for, in pixels.")
    height: int = Field(720, ge=16, le=4320, description="Height to ask the camera for, in pixels.")
    fps: float = Field(30.0, gt=0, le=240, description="Frames a second to ask the camera for.")


class Vision(_Section):
    """What is read and how."""

    models: str = Field("", description="Folder with manifest.toml and models; empty: the ones that ship.")
    detector: str = Field("", description="Name of the detector in the manifest; empty: its default.")
    classifier: str = Field("", description="Name of the classifier in the manifest; empty: its default.")
    threshold: float = Field(0.5, gt=0, lt=1, description="A face needs at least this detector score.")
    max_people: int = Field(8, ge=1, le=32, description="Of more faces than this the largest are read.")
    smoothing_s: float = Field(
        0.3, ge=0, le=5, description="Time constant of each person's smoothed scores, in s."
    )
    expiry_s: float = Field(
        2.0, gt=0, le=30, description="A face unseen for longer loses its number, in seconds."
    )


class Web(_Section):
    """The page."""

    host: str = Field(
        "127.0.0.1", description="Address to listen on; other than loopback needs access.open_to_network."
    )
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    max_viewers: int = Field(
        8, ge=1, le=64, description="Pictures streamed at once; one more is answered 503."
    )
    jpeg_quality: int = Field(80, ge=10, le=100, description="JPEG quality of the pictures.")
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Further names by which browsers may call this device (the Host header)."
    )


class Access(_Section):
    """Who may see the page."""

    open_to_network: bool = Field(
        False,
        description="Let everyone on the network see the page without login; needed for other addresses.",
    )


PLAIN: dict[str, type[BaseModel]] = {"vision": Vision, "web": Web, "access": Access}
"""Sections with one set of keys."""

CHOICES = {"camera": "auto", "engine": "tflite", "lamps": "none"}
"""Sections whose keys belong to the backend they name, and the default backend."""


@dataclass(frozen=True)
class Choice:
    """A backend by name, with its own settings."""

    backend: str
    settings: BaseModel


@dataclass(frozen=True)
class Layer:
    """One source of settings: where it stands, and section -> key -> value."""

    origin: str
    values: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Config:
    """The effective settings, and for each key that was set where it was."""

    camera: Choice
    engine: Choice
    lamps: Choice
    vision: Vision
    web: Web
    access: Access
    state_dir: Path
    installed: bool
    origins: Mapping[str, str]

    def effective(self) -> dict[str, dict[str, Any]]:
        """Section -> key -> value, defaults included."""
        shown: dict[str, dict[str, Any]] = {}
        for section in CHOICES:
            choice: Choice = getattr(self, section)
            shown[section] = {"backend": choice.backend, **choice.settings.model_dump()}
        for section in PLAIN:
            shown[section] = getattr(self, section).model_dump()
        return shown


@dataclass(frozen=True)
class Request:
    """What the command line says about configuration."""

    config: Path | None = None
    data_dir: Path | None = None
    settings: Sequence[str] = ()
    camera: str | None = None
    host: str | None = None
    port: str | None = None


@dataclass
class _Problems:
    found: list[ConfigError] = field(default_factory=list)

    def add(self, error: ConfigError) -> None:
        self.found.append(error)


def load(request: Request, environment: Mapping[str, str] | None = None) -> Config:
    """Read every layer and validate; raises `ConfigErrors` with all problems found."""
    environment = os.environ if environment is None else environment
    problems = _Problems()
    state = state_dir(request.data_dir, environment)
    layers = _layers(request, environment, state, problems)
    merged, origins = _merge(layers, problems)
    settings: dict[str, Any] = {}
    for section, default in CHOICES.items():
        settings[section] = _choose(section, default, merged.get(section, {}), origins, problems)
    for section, model in PLAIN.items():
        settings[section] = _fill(section, model, merged.get(section, {}), origins, problems)
    if isinstance(settings["web"], Web) and isinstance(settings["access"], Access):
        _check_address(settings["web"], settings["access"], origins, problems)
    if problems.found:
        raise ConfigErrors(problems.found)
    return Config(**settings, state_dir=state, installed=BOARD_FILE.exists(), origins=origins)


def state_dir(wanted: Path | None, environment: Mapping[str, str]) -> Path:
    """Where state is kept: as wanted, as the service manager says, or in the user's own state folder."""
    if wanted:
        return wanted
    if service := environment.get("STATE_DIRECTORY"):
        return Path(service.split(":")[0])
    base = environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "interview-grader"


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _layers(
    request: Request, environment: Mapping[str, str], state: Path, problems: _Problems
) -> list[Layer]:
    owner = request.config or OWNER_FILE
    files = [BOARD_FILE, owner, *sorted((owner.parent / "config.d").glob("*.toml")), state / "page.toml"]
    layers = []
    for path in files:
        if path.exists() or path == request.config:
            layers.append(_file_layer(path, problems))
    layers.append(_environment_layer(environment))
    layers.append(_command_line_layer(request, problems))
    return layers


def _file_layer(path: Path, problems: _Problems) -> Layer:
    try:
        tables = toml.read(path)
    except ConfigError as error:
        problems.add(error)
        return Layer(str(path), {})
    for name, table in tables.items():
        if not isinstance(table, dict):
            problems.add(
                ConfigError("stands outside a section; write it below [section]", key=name, file=str(path))
            )
    return Layer(str(path), {name: table for name, table in tables.items() if isinstance(table, dict)})


def _environment_layer(environment: Mapping[str, str]) -> Layer:
    values: dict[str, dict[str, Any]] = {}
    for name, text in sorted(environment.items()):
        section, _, key = name.removeprefix(ENVIRONMENT).lower().partition("__")
        if name.startswith(ENVIRONMENT):
            values.setdefault(section, {})[key] = toml.value(text)
    return Layer("environment", values)


def _command_line_layer(request: Request, problems: _Problems) -> Layer:
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
            problems.add(
                ConfigError("expected SECTION.KEY=VALUE, as in --set web.port=8080", key="--set", value=text)
            )
        else:
            values.setdefault(section, {})[key] = toml.value(value)
    return Layer("command line", values)


def _camera_argument(text: str, problems: _Problems) -> dict[str, Any]:
    backend, colon, argument = text.partition(":")
    values: dict[str, Any] = {"backend": backend}
    if not colon:
        return values
    try:
        key = "" if backend == "auto" else getattr(registry.load("camera", backend), "argument", "")
    except BackendMissing:
        return values  # named again, as a problem, when the section is filled
    if not key or not argument:
        problems.add(ConfigError(_wants(backend, key), key="--camera", value=text))
    else:
        values[key] = argument
    return values


def _wants(backend: str, key: str) -> str:
    if not key:
        return f"{backend} takes no argument; expected --camera {backend}"
    return f"the {key} is missing after the colon; expected --camera {backend}:{key.upper()}"


def _merge(layers: Sequence[Layer], problems: _Problems) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Later layers win; one that names another backend starts the section anew: keys are the backend's."""
    merged: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    known = [*CHOICES, *PLAIN]
    for layer in layers:
        for section, table in layer.values.items():
            if section not in known:
                reason = f"unknown section{_nearest(section, known)}"
                problems.add(ConfigError(reason, key=section, file=layer.origin))
                continue
            before = merged.setdefault(section, {})
            changed = section in CHOICES and "backend" in table
            if changed and table["backend"] != before.get("backend", CHOICES[section]):
                before.clear()
            before.update(table)
            origins.update({f"{section}.{key}": layer.origin for key in table})
    kept = {f"{section}.{key}" for section, table in merged.items() for key in table}
    return merged, {key: origin for key, origin in origins.items() if key in kept}


def _choose(
    section: str, default: str, table: Mapping[str, Any], origins: Mapping[str, str], problems: _Problems
) -> Choice | None:
    rest = dict(table)
    backend = str(rest.pop("backend", default))
    try:
        model = _settings_of(section, backend)
    except BackendMissing as error:
        problems.add(
            ConfigError(error.reason, key=error.key, value=error.value, file=_origin(origins, error.key))
        )
        return None
    settings = _fill(section, model, rest, origins, problems)
    return None if settings is None else Choice(backend, settings)


def _settings_of(section: str, backend: str) -> type[BaseModel]:
    if section == "camera" and backend == "auto":
        return AutoCamera
    model: type[BaseModel] = registry.load(section, backend).Settings
    return model


def _fill(
    section: str,
    model: type[BaseModel],
    table: Mapping[str, Any],
    origins: Mapping[str, str],
    problems: _Problems,
) -> BaseModel | None:
    try:
        return model.model_validate(dict(table))
    except ValidationError as error:
        for fault in error.errors():
            key = str(fault["loc"][0]) if fault["loc"] else ""
            reason = fault["msg"][:1].lower() + fault["msg"][1:]
            value = fault["input"] if fault["type"] != "missing" else None
            if fault["type"] == "extra_forbidden":
                reason = f"unknown key{_nearest(key, model.model_fields)}"
            name = f"{section}.{key}"
            problems.add(ConfigError(reason, key=name, value=value, file=_origin(origins, name)))
        return None


def _check_address(web: Web, access: Access, origins: Mapping[str, str], problems: _Problems) -> None:
    if not is_loopback(web.host) and not access.open_to_network:
        reason = (
            "everyone on the network could see the page; expected a loopback address such as 127.0.0.1, "
            "or set access.open_to_network = true to allow just that"
        )
        problems.add(ConfigError(reason, key="web.host", value=web.host, file=_origin(origins, "web.host")))


def _origin(origins: Mapping[str, str], key: str) -> str:
    return origins.get(key, "")


def _nearest(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
