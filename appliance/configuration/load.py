"""Loads the configuration: merges its layers into typed settings, and reports all problems at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from appliance import registry
from appliance.configuration.layers import (
    BOARD_FILE,
    ConfigOptions,
    closest_name,
    merge_layers,
    read_layers,
    suggest,
)
from appliance.configuration.settings import (
    AUTO_SETTINGS,
    BACKEND_SECTIONS,
    LONGEST_DAYS,
    PLAIN_SECTIONS,
    AccessSettings,
    JurisdictionSettings,
    SessionSettings,
    StorageSettings,
    VisionSettings,
    WebSettings,
)
from appliance.errors import BackendMissing, ConfigError, ConfigErrors
from appliance.system.addresses import is_loopback

HIDDEN_FOLDERS = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
"""Folders hidden by ProtectHome= and PrivateTmp= of systemd/interview-grader.service."""

_PATH_SETTINGS = (
    "vision.models",
    "access.certificate",
    "access.key",
    "session.notice",
    "camera.path",
    "camera.credentials",
    "camera.ca_file",
)
SERVICE_STATE = Path("/var/lib/interview-grader")


@dataclass(frozen=True)
class BackendConfig:
    """The backend chosen in a section, by name, and its settings."""

    backend: str
    settings: BaseModel


@dataclass(frozen=True)
class Config:
    """The effective settings by section; `origins`: where each key was set, if it was."""

    camera: BackendConfig
    engine: BackendConfig
    lamps: BackendConfig
    vision: VisionSettings
    web: WebSettings
    access: AccessSettings
    session: SessionSettings
    lawful: JurisdictionSettings
    storage: StorageSettings
    state_dir: Path
    installed: bool
    origins: Mapping[str, str]

    @property
    def on_network(self) -> bool:
        """Whether other machines can reach the page."""
        return not is_loopback(self.web.host)

    @property
    def loopback_is_operator(self) -> bool:
        """Whether every client on the device itself is an operator."""
        wish = self.access.loopback
        # Not in the board's file: after a rollback an older release would refuse the key.
        return wish == "operator" or (wish == "auto" and not self.installed)

    @property
    def needs_login(self) -> bool:
        """Whether any client must log in."""
        has_strangers = self.on_network or not self.loopback_is_operator or bool(self.web.trusted_proxies)
        return has_strangers and not self.access.open_to_network

    @property
    def needs_tls(self) -> bool:
        """Whether the page uses TLS: with a login, unless only local proxies and the operator connect."""
        return self.needs_login and (self.on_network or not self.loopback_is_operator)

    @property
    def sandboxed(self) -> bool:
        """Whether this is the configuration of a device's service, which is sandboxed."""
        return _is_sandboxed(self.state_dir)

    def effective(self) -> dict[str, dict[str, Any]]:
        """Section -> key -> value, defaults included."""
        shown: dict[str, dict[str, Any]] = {}
        for section in BACKEND_SECTIONS:
            choice: BackendConfig = getattr(self, section)
            shown[section] = {"backend": choice.backend, **choice.settings.model_dump()}
        for section in PLAIN_SECTIONS:
            shown[section] = getattr(self, section).model_dump()
        return shown


def load_config(options: ConfigOptions, environment: Mapping[str, str] | None = None) -> Config:
    """Read and validate all layers; raises `ConfigErrors` with all problems."""
    environment = os.environ if environment is None else environment
    problems: list[ConfigError] = []
    state = find_state_dir(options.data_dir, environment)
    layers = read_layers(options, environment, state, problems)
    merged, origins = merge_layers(layers, problems)
    settings: dict[str, Any] = {}
    for section, default in BACKEND_SECTIONS.items():
        settings[section] = _read_backend(section, default, merged.get(section, {}), origins, problems)
    for section, model in PLAIN_SECTIONS.items():
        settings[section] = _validate(section, model, merged.get(section, {}), origins, problems)
    _check_certificate(merged, origins, problems)
    if problems:
        raise ConfigErrors(problems)
    return Config(**settings, state_dir=state, installed=BOARD_FILE.exists(), origins=origins)


def load_lamps_config(options: ConfigOptions) -> BackendConfig:
    """The lamps alone, even if another section is invalid.

    Raises `ConfigErrors` for invalid lamp settings, and for an unreadable file, which may set other pins.
    """
    problems: list[ConfigError] = []
    elsewhere: list[ConfigError] = []
    layers = read_layers(options, os.environ, find_state_dir(options.data_dir, os.environ), problems)
    merged, origins = merge_layers(layers, elsewhere)
    lamps = _read_backend("lamps", BACKEND_SECTIONS["lamps"], merged.get("lamps", {}), origins, problems)
    if lamps is None or problems:
        raise ConfigErrors(problems)
    return lamps


def check_sandbox_paths(config: Config) -> None:
    """Raises `ConfigErrors` for files that the sandbox hides from a device's service."""
    table = config.effective() if config.sandboxed else {}
    given = {f"{name}.{key}": value for name, keys in table.items() for key, value in keys.items()}
    folders = ", ".join(HIDDEN_FOLDERS)
    reason = f"the service cannot see files in {folders}; move it to /etc/interview-grader"
    problems = [
        ConfigError(reason, key=key, value=value, file=_origin(config.origins, key))
        for key, value in given.items()
        if key in _PATH_SETTINGS
        and value
        and any(Path(value).is_relative_to(each) for each in HIDDEN_FOLDERS)
    ]
    if problems:
        raise ConfigErrors(problems)


@dataclass(frozen=True)
class RetentionConfig:
    """The retention settings. `sandboxed`: the records belong to a device's service.

    `doubt`: why the owner's retention time is unknown, "" if it is known.
    """

    storage: StorageSettings
    state_dir: Path
    sandboxed: bool
    doubt: str = ""


def load_retention(options: ConfigOptions) -> RetentionConfig:
    """The retention settings; no mistake in the configuration prevents erasing.

    If the owner's number of days is unknown, the maximum applies. Raises `ConfigErrors` for the command line.
    """
    problems: list[ConfigError] = []
    state = find_state_dir(options.data_dir, os.environ)
    layers = read_layers(options, os.environ, state, problems)
    unreadable = bool(problems)
    merged, origins = merge_layers(layers, problems)
    table = merged.get("storage", {})
    storage = _validate("storage", StorageSettings, table, origins, problems)
    of_the_command = [each for each in problems if each.file in ("", "command line", str(options.config))]
    if of_the_command:
        raise ConfigErrors(of_the_command)
    is_set = "keep_days" in table and not any(each.key == "storage.keep_days" for each in problems)
    misplaced = [name for name, keys in merged.items() if name != "storage" and "keep_days" in keys]
    problems += [ConfigError("belongs in [storage]", key=f"{name}.keep_days") for name in misplaced]
    doubt = ""
    if problems or not isinstance(storage, StorageSettings):
        is_known = is_set and not unreadable
        storage = StorageSettings(keep_days=table["keep_days"] if is_known else LONGEST_DAYS)
        doubt = "" if is_known else str(problems[0])
    return RetentionConfig(storage, state, _is_sandboxed(state), doubt)


def _is_sandboxed(state: Path) -> bool:
    """Whether this is the state directory of a device's service."""
    return BOARD_FILE.exists() and state == SERVICE_STATE


def find_state_dir(wanted: Path | None, environment: Mapping[str, str]) -> Path:
    """The state directory: `wanted`, else the service manager's, else the user's state folder."""
    if wanted:
        return wanted
    if service := environment.get("STATE_DIRECTORY"):
        return Path(service.split(":")[0])
    try:
        base = environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError as error:
        reason = "this user has no home folder; name a state directory, such as --data-dir /srv/grader"
        raise ConfigError(reason, key="--data-dir") from error
    return Path(base) / "interview-grader"


def _read_backend(
    section: str,
    default: str,
    table: Mapping[str, Any],
    origins: Mapping[str, str],
    problems: list[ConfigError],
) -> BackendConfig | None:
    rest = dict(table)
    backend = str(rest.pop("backend", default))
    try:
        model = _settings_model(section, backend)
    except BackendMissing as error:
        problems.append(
            ConfigError(error.reason, key=error.key, value=error.value, file=_origin(origins, error.key))
        )
        return None
    settings = _validate(section, model, rest, origins, problems)
    return None if settings is None else BackendConfig(backend, settings)


def _settings_model(section: str, backend: str) -> type[BaseModel]:
    if backend == "auto" and section in AUTO_SETTINGS:
        return AUTO_SETTINGS[section]
    return registry.load(section, backend).Settings


def backend_settings(
    section: str, model: type[BaseModel], table: Mapping[str, Any], origins: Mapping[str, str]
) -> BaseModel:
    """The settings of a backend chosen by `auto`; raises `ConfigErrors` if `table` does not fit."""
    problems: list[ConfigError] = []
    settings = _validate(section, model, table, origins, problems)
    if settings is None:
        raise ConfigErrors(problems)
    return settings


def _validate(
    section: str,
    model: type[BaseModel],
    table: Mapping[str, Any],
    origins: Mapping[str, str],
    problems: list[ConfigError],
) -> BaseModel | None:
    try:
        return model.model_validate(dict(table))
    except ValidationError as error:
        for fault in error.errors():
            key = str(fault["loc"][0]) if fault["loc"] else ""
            name = f"{section}.{key}"
            value = None if fault["type"] == "missing" else fault["input"]
            reason = _reason(fault["type"], fault["msg"], section, key, model)
            problems.append(ConfigError(reason, key=name, value=value, file=_origin(origins, name)))
        return None


def _reason(kind: str, message: str, section: str, key: str, model: type[BaseModel]) -> str:
    if kind == "extra_forbidden":
        return _unknown(section, key, model)
    if kind == "missing":
        return f"is required: {model.model_fields[key].description}"
    return message.replace("Input should be", "expected").replace("Value error, ", "")


def _unknown(section: str, key: str, model: type[BaseModel]) -> str:
    """The reason for an unknown key, which in a section with backends may be another backend's key."""
    if section not in BACKEND_SECTIONS:
        return f"unknown key{suggest(key, model.model_fields)}"
    own = ["backend", *model.model_fields]
    others = _backends_by_key(section)
    if key in others:
        return f"belongs to {others[key]}; set that backend, or remove this key"
    near = None if closest_name(key, own) else closest_name(key, others)
    return (
        f"unknown key; did you mean {near!r} of {others[near]}?"
        if near
        else f"unknown key{suggest(key, own)}"
    )


def _backends_by_key(section: str) -> dict[str, str]:
    """For each key of a section, the backends that have it, in words."""
    owners: dict[str, list[str]] = {}
    for name in sorted([*registry.names(section), *(["auto"] if section in AUTO_SETTINGS else [])]):
        with contextlib.suppress(BackendMissing):  # a backend that cannot be imported has no keys to name
            for key in _settings_model(section, name).model_fields:
                owners.setdefault(key, []).append(f'"{name}"')
    return {key: f"{section}.backend = {' or '.join(names)}" for key, names in owners.items()}


def _check_certificate(
    merged: Mapping[str, Mapping[str, Any]], origins: Mapping[str, str], problems: list[ConfigError]
) -> None:
    access = merged.get("access", {})
    for name, other in (("certificate", "key"), ("key", "certificate")):
        if access.get(name) and not access.get(other):
            key = f"access.{name}"
            reason = f"is set without access.{other}; expected both files or neither"
            problems.append(ConfigError(reason, key=key, value=access[name], file=_origin(origins, key)))


def _origin(origins: Mapping[str, str], key: str) -> str:
    return origins.get(key, "")
