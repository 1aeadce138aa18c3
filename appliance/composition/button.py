"""Builds the button."""

from __future__ import annotations

import logging
from collections.abc import Callable

from appliance.configuration.load import BackendConfig
from appliance.configuration.settings import SessionSettings
from appliance.consent.session import Session
from appliance.errors import ConfigError
from appliance.hardware.button import Button, ButtonActions
from appliance.hardware.power_off import power_off

log = logging.getLogger("appliance.build")


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
