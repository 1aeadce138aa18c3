"""Builds the terms of consent."""

from __future__ import annotations

from appliance.configuration.load import Config
from appliance.configuration.page_file import PageFile
from appliance.configuration.settings import JurisdictionSettings
from appliance.consent.notice import read_notice
from appliance.consent.terms import Terms


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
