"""Which certificate the web server has, if any."""

from __future__ import annotations

from collections.abc import Callable

from appliance.configuration.load import Config


def choose_certificate(config: Config) -> Callable[[], tuple[str, str]] | None:
    """What returns the PEM files of certificate and key; None if the page is plain HTTP."""
    if config.access.certificate:
        return lambda: (config.access.certificate, config.access.key)
    if not config.needs_tls:
        return None
    from appliance.auth.certificate import DeviceCertificate  # slow to load, and needed only here

    return DeviceCertificate(config.state_dir, config.web.allowed_hosts).current


def check_certificate(config: Config) -> None:
    """Raises `ConfigError` if the owner's certificate cannot be used."""
    if config.access.certificate:
        from appliance.web.transport.tls import ReloadingTls  # slow to load, and needed only here

        ReloadingTls(lambda: (config.access.certificate, config.access.key)).context()
