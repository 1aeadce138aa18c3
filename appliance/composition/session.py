"""Builds what sessions need: the terms, the records and the button."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from appliance.audit import AuditLog
from appliance.configuration.load import BackendConfig, Config
from appliance.configuration.page_file import PageFile
from appliance.configuration.settings import JurisdictionSettings, SessionSettings, StorageSettings
from appliance.consent.notice import read_notice
from appliance.consent.session import Session
from appliance.consent.terms import Terms
from appliance.errors import ConfigError
from appliance.hardware.button import Button, ButtonActions
from appliance.hardware.power_off import power_off
from appliance.records import StorageLimits, Store

log = logging.getLogger("appliance.build")


def make_terms(config: Config) -> Terms:
    """The terms of consent; raises `ConfigError` for a malformed notice."""
    keys = tuple(JurisdictionSettings.model_fields)
    page = PageFile(config.state_dir)
    origins = (config.origins.get(f"lawful.{key}", "") for key in keys)
    return Terms(
        read_notice(config.session.notice),
        keep_days=config.storage.keep_days,
        **config.lawful.model_dump(),
        fixed_by=next((origin for origin in origins if origin and origin != str(page.path)), ""),
        keep=lambda *answers: page.save("lawful", dict(zip(keys, answers, strict=True))),
    )


def make_store(storage: StorageSettings, state_dir: Path, audit: AuditLog) -> Store:
    """The records. The audit log records when rows expire or are set aside."""
    limits = StorageLimits(storage.keep_days, storage.min_free_mb)
    return Store(state_dir, limits, on_event=lambda **details: audit.require("storage", "timer", **details))


def make_button(
    settings: SessionSettings, lamps: BackendConfig, session: Session, reset_access: Callable[[], None]
) -> Button | None:
    """The button, None without a pin; raises `ConfigError` if its pin is unavailable."""
    if settings.button_pin < 0:
        return None
    _refuse_pin_of_a_lamp(settings, lamps)
    if settings.printed_notice != session.terms.notice.version:
        log.warning(
            "the button starts nothing: session.printed_notice is %r, but the notice is %r; print /notice "
            "and update session.printed_notice",
            settings.printed_notice,
            session.terms.notice.version,
        )
    actions = ButtonActions(
        session,
        printed_notice=settings.printed_notice,
        people=settings.button_people,
        reset_access=reset_access,
        power_off=power_off,
    )
    return Button(settings.button_pin, settings.button_factory, actions)


def _refuse_pin_of_a_lamp(settings: SessionSettings, lamps: BackendConfig) -> None:
    # Jetson.GPIO silently turns the lamp's pin into an input; lgpio reports that the pin is busy.
    pin = settings.button_pin
    if lamps.backend == settings.button_factory == "jetson":
        for lamp, taken in lamps.settings.model_dump().items():
            if taken == pin:
                raise ConfigError(
                    f"header pin {pin} is already used by lamps.{lamp}; choose another pin for the button",
                    key="session.button_pin",
                    value=pin,
                )
