"""Configuration: layers of TOML, environment and command line become typed settings, all problems at once."""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from appliance import registry
from appliance.configuration.layers import BOARD_FILE, Request, closest, merge, nearest, read_layers
from appliance.configuration.settings import (
    AUTO,
    CHOICES,
    LONGEST_DAYS,
    PLAIN,
    Access,
    Lawful,
    SessionSettings,
    Storage,
    Vision,
    Web,
)
from appliance.errors import BackendMissing, ConfigError, ConfigErrors

HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
"""ProtectHome= and PrivateTmp= of systemd/interview-grader.service."""
_NEEDED = ("vision.models", "access.certificate", "access.key", "session.notice", "camera.path")
SERVICE_STATE = Path("/var/lib/interview-grader")


@dataclass(frozen=True)
class Choice:
    """A backend by name, with its own settings."""

    backend: str
    settings: BaseModel


@dataclass(frozen=True)
class Config:
    """The effective settings, and for each key that was set where it was."""

    camera: Choice
    engine: Choice
    lamps: Choice
    vision: Vision
    web: Web
    access: Access
    session: SessionSettings
    lawful: Lawful
    storage: Storage
    state_dir: Path
    installed: bool
    origins: Mapping[str, str]

    @property
    def on_network(self) -> bool:
        """Whether other machines can reach the page."""
        return not is_loopback(self.web.host)

    @property
    def loopback_is_operator(self) -> bool:
        """Whether every client on the device itself is operator."""
        wish = self.access.loopback
        # Not in the board's file: an older release would refuse the key on the way back to it.
        return wish == "operator" or (wish == "auto" and not self.installed)

    @property
    def needs_login(self) -> bool:
        """Whether some clients must log in; then the page has TLS, on loopback too."""
        has_strangers = self.on_network or not self.loopback_is_operator
        return has_strangers and not self.access.open_to_network

    @property
    def shut_in(self) -> bool:
        """Whether it is the configuration of a device's service, whose sandbox shows it little."""
        return _shut_in(self.state_dir)

    def effective(self) -> dict[str, dict[str, Any]]:
        """Section -> key -> value, defaults included."""
        shown: dict[str, dict[str, Any]] = {}
        for section in CHOICES:
            choice: Choice = getattr(self, section)
            shown[section] = {"backend": choice.backend, **choice.settings.model_dump()}
        for section in PLAIN:
            shown[section] = getattr(self, section).model_dump()
        return shown


def load(request: Request, environment: Mapping[str, str] | None = None) -> Config:
    """Read every layer and validate; raises `ConfigErrors` with all problems found."""
    environment = os.environ if environment is None else environment
    problems: list[ConfigError] = []
    state = state_dir(request.data_dir, environment)
    layers = read_layers(request, environment, state, problems)
    merged, origins = merge(layers, problems)
    settings: dict[str, Any] = {}
    for section, default in CHOICES.items():
        settings[section] = _choose(section, default, merged.get(section, {}), origins, problems)
    for section, model in PLAIN.items():
        settings[section] = _fill(section, model, merged.get(section, {}), origins, problems)
    _check_certificate(merged, origins, problems)
    if problems:
        raise ConfigErrors(problems)
    return Config(**settings, state_dir=state, installed=BOARD_FILE.exists(), origins=origins)


def load_lamps(request: Request) -> Choice:
    """The lamps alone: a mistake in another section keeps nobody from having them.

    Raises `ConfigErrors` about their own settings, and when a file cannot be read: it may say other pins.
    """
    problems: list[ConfigError] = []
    elsewhere: list[ConfigError] = []
    layers = read_layers(request, os.environ, state_dir(request.data_dir, os.environ), problems)
    merged, origins = merge(layers, elsewhere)
    lamps = _choose("lamps", CHOICES["lamps"], merged.get("lamps", {}), origins, problems)
    if lamps is None or problems:
        raise ConfigErrors(problems)
    return lamps


def check_places(config: Config) -> None:
    """Raises `ConfigErrors` about files that a device's service needs and does not see from its sandbox."""
    table = config.effective() if config.shut_in else {}
    given = {f"{name}.{key}": value for name, keys in table.items() for key, value in keys.items()}
    reason = f"hidden from the service, as all of {', '.join(HIDDEN)}; put it below /etc/interview-grader"
    problems = [
        ConfigError(reason, key=key, value=value, file=_origin(config.origins, key))
        for key, value in given.items()
        if key in _NEEDED and value and any(Path(value).is_relative_to(each) for each in HIDDEN)
    ]
    if problems:
        raise ConfigErrors(problems)


@dataclass(frozen=True)
class Keeping:
    """What is needed to look after the records. `shut_in`: they are those of a device's service.

    `doubt`: why nobody knows how long the owner wants them kept, "" when it is known.
    """

    storage: Storage
    state_dir: Path
    shut_in: bool
    doubt: str = ""


def load_keeping(request: Request) -> Keeping:
    """How records are kept: no mistake in the settings keeps anybody, or the timer, from erasing.

    Where it cannot be told how many days the owner meant, it is as many as there may be. Raises
    `ConfigErrors` about the command line.
    """
    problems: list[ConfigError] = []
    state = state_dir(request.data_dir, os.environ)
    layers = read_layers(request, os.environ, state, problems)
    unread = bool(problems)
    merged, origins = merge(layers, problems)
    table = merged.get("storage", {})
    storage = _fill("storage", Storage, table, origins, problems)
    asked = [each for each in problems if each.file in ("", "command line", str(request.config))]
    if asked:
        raise ConfigErrors(asked)
    said = "keep_days" in table and not any(each.key == "storage.keep_days" for each in problems)
    misplaced = [name for name, keys in merged.items() if name != "storage" and "keep_days" in keys]
    problems += [ConfigError("belongs in [storage]", key=f"{name}.keep_days") for name in misplaced]
    if not problems and isinstance(storage, Storage):
        return Keeping(storage, state, _shut_in(state))
    if said and not unread:
        return Keeping(Storage(keep_days=table["keep_days"]), state, _shut_in(state))
    return Keeping(Storage(keep_days=LONGEST_DAYS), state, _shut_in(state), str(problems[0]))


def _shut_in(state: Path) -> bool:
    """Whether state is that of a device's service, whose sandbox shows it little else."""
    return BOARD_FILE.exists() and state == SERVICE_STATE


def state_dir(wanted: Path | None, environment: Mapping[str, str]) -> Path:
    """Where state is kept: as wanted, as the service manager says, or in the user's own state folder."""
    if wanted:
        return wanted
    if service := environment.get("STATE_DIRECTORY"):
        return Path(service.split(":")[0])
    try:
        base = environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError as error:
        reason = (
            "this user has no home folder; expected a place to keep state in, as in --data-dir /srv/grader"
        )
        raise ConfigError(reason, key="--data-dir") from error
    return Path(base) / "interview-grader"


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    address = parse_address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address in digits, None for a name. A socket for both families shows IPv4 as ::ffff:127.0.0.1."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _choose(
    section: str,
    default: str,
    table: Mapping[str, Any],
    origins: Mapping[str, str],
    problems: list[ConfigError],
) -> Choice | None:
    rest = dict(table)
    backend = str(rest.pop("backend", default))
    try:
        model = _settings_of(section, backend)
    except BackendMissing as error:
        problems.append(
            ConfigError(error.reason, key=error.key, value=error.value, file=_origin(origins, error.key))
        )
        return None
    settings = _fill(section, model, rest, origins, problems)
    return None if settings is None else Choice(backend, settings)


def _settings_of(section: str, backend: str) -> type[BaseModel]:
    if backend == "auto" and section in AUTO:
        return AUTO[section]
    return registry.load(section, backend).Settings


def narrowed(config: Config, section: str, model: type[BaseModel], table: Mapping[str, Any]) -> BaseModel:
    """The settings of the backend chosen for a section; raises `ConfigErrors` where they do not fit."""
    problems: list[ConfigError] = []
    settings = _fill(section, model, table, config.origins, problems)
    if settings is None:
        raise ConfigErrors(problems)
    return settings


def _fill(
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
        return f"must be given: {model.model_fields[key].description}"
    return message.replace("Input should be", "expected").replace("Value error, ", "")


def _unknown(section: str, key: str, model: type[BaseModel]) -> str:
    """What to say about an unknown key; in a section with backends it may be another backend's."""
    if section not in CHOICES:
        return f"unknown key{nearest(key, model.model_fields)}"
    own = ["backend", *model.model_fields]
    others = _backends_by_key(section)
    if key in others:
        return f"belongs to {others[key]}; set that backend, or remove this key"
    near = None if closest(key, own) else closest(key, others)
    return (
        f"unknown key; did you mean {near!r} of {others[near]}?"
        if near
        else f"unknown key{nearest(key, own)}"
    )


def _backends_by_key(section: str) -> dict[str, str]:
    """Of each key of a section which backends have it, in words."""
    owners: dict[str, list[str]] = {}
    for name in sorted([*registry.names(section), *(["auto"] if section in AUTO else [])]):
        with contextlib.suppress(BackendMissing):  # what cannot be imported has no keys to name
            for key in _settings_of(section, name).model_fields:
                owners.setdefault(key, []).append(f'"{name}"')
    return {key: f"{section}.backend = {' or '.join(names)}" for key, names in owners.items()}


def _check_certificate(
    merged: Mapping[str, Mapping[str, Any]], origins: Mapping[str, str], problems: list[ConfigError]
) -> None:
    access = merged.get("access", {})
    for name, other in (("certificate", "key"), ("key", "certificate")):
        if access.get(name) and not access.get(other):
            key = f"access.{name}"
            reason = f"given without access.{other}; expected both files, or neither"
            problems.append(ConfigError(reason, key=key, value=access[name], file=_origin(origins, key)))


def _origin(origins: Mapping[str, str], key: str) -> str:
    return origins.get(key, "")
