"""The part of the composition root that makes what people agree to, their button, and the records."""

from __future__ import annotations

import logging
from collections.abc import Callable

from appliance.audit import AuditLog
from appliance.configuration.load import Config, Keeping
from appliance.configuration.page_file import PageFile
from appliance.configuration.settings import Lawful
from appliance.consent.notice import read_notice
from appliance.consent.session import Session
from appliance.consent.terms import Terms
from appliance.errors import ConfigError
from appliance.hardware.button import Button, ButtonActions
from appliance.hardware.power_off import power_off
from appliance.records import Limits, Store

log = logging.getLogger("appliance.build")


def make_terms(config: Config) -> Terms:
    """On what terms people agree; raises `ConfigError` for a notice that is none."""
    page = PageFile(config.state_dir)
    origins = (config.origins.get(f"lawful.{key}", "") for key in Lawful.model_fields)
    return Terms(
        read_notice(config.session.notice),
        keep_days=config.storage.keep_days,
        **config.lawful.model_dump(),
        fixed_by=next((origin for origin in origins if origin and origin != str(page.path)), ""),
        keep=lambda *answers: page.put("lawful", dict(zip(Lawful.model_fields, answers, strict=True))),
    )


def make_store(config: Config | Keeping, audit: AuditLog) -> Store:
    """The records. What is swept or set aside goes to the audit log."""
    limits = Limits(config.storage.keep_days, config.storage.min_free_mb)
    return Store(config.state_dir, limits, told=lambda **details: audit.append("storage", "timer", **details))


def make_button(config: Config, session: Session, reset_access: Callable[[], None]) -> Button | None:
    """The button, if there is one; raises `ConfigError` when its pin cannot be had."""
    wanted = config.session
    if wanted.button_pin < 0:
        return None
    _refuse_pin_of_a_lamp(config)
    if wanted.printed_notice != session.terms.notice.version:
        log.warning(
            "the button starts nothing: session.printed_notice is %r, the notice is %r; print /notice",
            wanted.printed_notice,
            session.terms.notice.version,
        )
    actions = ButtonActions(
        session,
        printed_notice=wanted.printed_notice,
        people=wanted.button_people,
        reset_access=reset_access,
        power_off=power_off,
    )
    return Button(wanted.button_pin, wanted.button_factory, actions)


def _refuse_pin_of_a_lamp(config: Config) -> None:
    # Jetson.GPIO would make the lamp's pin an input without a word; lgpio says that the pin is busy.
    pin, lamps = config.session.button_pin, config.lamps
    if lamps.backend == config.session.button_factory == "jetson":
        for lamp, taken in lamps.settings.model_dump().items():
            if taken == pin:
                raise ConfigError(
                    f"header pin {pin} is that of lamps.{lamp} already; give the button another",
                    key="session.button_pin",
                    value=pin,
                )
