"""The device's own certificate, and files that change while the server runs; with real handshakes."""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
import stat
import subprocess
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509

from appliance.auth import certificate as certificates
from appliance.auth.certificate import RENEW, VALID, DeviceCertificate
from appliance.errors import ConfigError, StoreError
from appliance.system import host_names
from appliance.system.host_names import LOCAL_SUFFIXES
from appliance.system.interfaces import Address
from appliance.web.transport.tls import ReloadingTls

NOW = datetime.now(timezone.utc)


def loaded(device: DeviceCertificate) -> x509.Certificate:
    return x509.load_pem_x509_certificate(device.certificate.read_bytes())


def dns_names(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(found.get_values_for_type(x509.DNSName))


def addresses(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(each) for each in found.get_values_for_type(x509.IPAddress)]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The device's own addresses; a test changes them."""
    own = ["127.0.0.1", "::1"]

    def own_addresses() -> list[Address]:
        return [ipaddress.ip_address(each) for each in own]

    monkeypatch.setattr(certificates, "own_addresses", own_addresses)
    return own


def served_certificate(
    tls: ReloadingTls, *, version: ssl.TLSVersion | None = None, trust: Path | None = None
) -> bytes:
    """The certificate that a client gets in a real handshake, DER."""
    here, there = socket.socketpair()
    client = (
        ssl.create_default_context(cafile=str(trust)) if trust else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    if trust is None:
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    if version:
        client.minimum_version = client.maximum_version = version
        client.set_ciphers("DEFAULT:@SECLEVEL=0")

    def serve() -> None:
        try:
            tls.context().wrap_socket(there, server_side=True).close()
        except OSError:
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(here, server_hostname="localhost") as wrapped:
            shown = wrapped.getpeercert(binary_form=True)
            assert shown
            return shown
    finally:
        here.close()
        thread.join()


# --- made and renewed ---


def test_the_first_start_makes_a_certificate_with_the_devices_names(tmp_path: Path) -> None:
    device = DeviceCertificate(tmp_path / "state")
    assert device.fingerprint() == ""
    assert device.current() == (str(device.certificate), str(device.key))
    found = loaded(device)
    host = socket.gethostname().partition(".")[0].lower()
    names = {host, *(f"{host}.{suffix}" for suffix in LOCAL_SUFFIXES), f"{host}-2.local"}
    assert dns_names(found) == {*names, "interview-grader.local", "localhost"}
    assert "127.0.0.1" in addresses(found)
    assert found.not_valid_after_utc - found.not_valid_before_utc == VALID
    assert found.public_key().curve.name == "secp256r1"  # type: ignore[union-attr]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (device.certificate, device.key)} == {0o600}


def test_it_is_kept_until_it_is_due(tmp_path: Path) -> None:
    device = DeviceCertificate(tmp_path)
    device.current(NOW)
    first = loaded(device)
    for later in (timedelta(), VALID - RENEW - timedelta(days=2), timedelta(days=-20_000)):
        device.current(NOW + later)
        assert loaded(device) == first


def test_it_is_renewed_before_it_expires_with_the_same_key(tmp_path: Path) -> None:
    device = DeviceCertificate(tmp_path)
    device.current(NOW)
    first = loaded(device)
    device.current(NOW + VALID - RENEW + timedelta(days=1))
    second = loaded(device)
    assert second.serial_number != first.serial_number
    assert second.not_valid_after_utc > first.not_valid_after_utc
    assert second.public_key() == first.public_key()


def test_it_is_renewed_when_the_device_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = DeviceCertificate(tmp_path)
    device.current()
    key = loaded(device).public_key()
    monkeypatch.setattr(host_names.socket, "gethostname", lambda: "Room-7.example")
    device.current()
    assert {"room-7", "room-7.local"} <= dns_names(loaded(device))
    assert loaded(device).public_key() == key


def test_allowed_hosts_are_certified_and_a_new_one_renews_it(tmp_path: Path) -> None:
    DeviceCertificate(tmp_path).current()
    key = loaded(DeviceCertificate(tmp_path)).public_key()
    device = DeviceCertificate(tmp_path, ("grader.example", "a_b.example", "192.0.2.9"))
    device.current()
    assert {"grader.example", "a_b.example"} <= dns_names(loaded(device))
    assert "192.0.2.9" in addresses(loaded(device)) and "192.0.2.9" not in dns_names(loaded(device))
    assert loaded(device).public_key() == key
    kept = loaded(device)
    device.current()
    assert loaded(device) == kept


def test_an_address_that_comes_later_is_certified(tmp_path: Path, here: list[str]) -> None:
    """As on a device that starts before DHCP has answered, or without a default route."""
    device = DeviceCertificate(tmp_path)
    device.current()
    key = loaded(device).public_key()
    for address in ("192.0.2.5", "fd00::5"):
        here.append(address)
        device.current()
        assert address in addresses(loaded(device))
        assert loaded(device).public_key() == key


def test_two_networks_in_turn_cost_one_renewal(tmp_path: Path, here: list[str]) -> None:
    device = DeviceCertificate(tmp_path)
    here[2:] = ["192.0.2.5"]
    device.current()
    here[2:] = ["198.51.100.5"]
    device.current()
    kept = loaded(device)
    for address in ("192.0.2.5", "198.51.100.5"):
        here[2:] = [address]
        device.current()
        assert loaded(device) == kept


def test_a_new_public_ipv6_prefix_does_not_renew_it(tmp_path: Path, here: list[str]) -> None:
    device = DeviceCertificate(tmp_path)
    here[2:] = ["2001:db8::5"]
    device.current()
    kept = loaded(device)
    here[2:] = ["2001:db8:1::5"]
    device.current()
    assert loaded(device) == kept and "2001:db8::5" in addresses(kept)


def test_earlier_addresses_are_dropped_before_present_ones(tmp_path: Path, here: list[str]) -> None:
    device = DeviceCertificate(tmp_path)
    for number in range(30):
        here[2:] = [f"192.0.2.{number}"]
        device.current()
    found = addresses(loaded(device))
    assert len(found) == 16 and {"192.0.2.29", "192.0.2.16"} <= set(found) and "192.0.2.15" not in found
    here[2:] = [f"198.51.100.{number}" for number in range(40)]
    device.current()
    assert set(here) == set(addresses(loaded(device)))


def test_a_certificate_made_while_the_clock_was_ahead_is_renewed(tmp_path: Path) -> None:
    device = DeviceCertificate(tmp_path)
    device.current(NOW + timedelta(days=4000))
    ahead = loaded(device)
    device.current(NOW)
    found = loaded(device)
    assert found.not_valid_before_utc <= NOW < found.not_valid_after_utc
    assert found.public_key() == ahead.public_key()
    device.current(datetime(1970, 1, 1, tzinfo=timezone.utc))
    assert loaded(device) == found, "a clock that was never set says nothing"


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_lost_certificate_is_replaced_with_the_same_key(tmp_path: Path, content: bytes | None) -> None:
    device = DeviceCertificate(tmp_path)
    device.current()
    key = loaded(device).public_key()
    device.certificate.unlink() if content is None else device.certificate.write_bytes(content)
    device.current()
    assert loaded(device).public_key() == key


def test_a_certificate_of_another_key_is_replaced(tmp_path: Path) -> None:
    one, two = DeviceCertificate(tmp_path / "one"), DeviceCertificate(tmp_path / "two")
    one.current()
    two.current()
    one.certificate.write_bytes(two.certificate.read_bytes())
    ReloadingTls(one.current).context()


def test_a_damaged_key_is_reported_and_never_silently_replaced(tmp_path: Path) -> None:
    device = DeviceCertificate(tmp_path)
    device.current()
    device.key.write_bytes(b"nonsense")
    with pytest.raises(StoreError, match="delete it"):
        device.current()
    assert device.key.read_bytes() == b"nonsense"


def test_a_clock_that_was_never_set_makes_no_expired_certificate(tmp_path: Path) -> None:
    device = DeviceCertificate(tmp_path)
    device.current(datetime(1970, 1, 1, tzinfo=timezone.utc))
    assert loaded(device).not_valid_after_utc.year >= 2028


def test_unusual_host_names_make_a_valid_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_names.socket, "gethostname", lambda: "größe")
    device = DeviceCertificate(tmp_path)
    device.current()
    assert dns_names(loaded(device)) == {"interview-grader.local", "localhost"}


# --- served ---


def test_a_client_that_trusts_the_certificate_connects(tmp_path: Path) -> None:
    device = DeviceCertificate(tmp_path)
    tls = ReloadingTls(device.current)
    tls.context()
    shown = served_certificate(tls, trust=device.certificate)
    assert x509.load_der_x509_certificate(shown) == loaded(device)
    other = DeviceCertificate(tmp_path / "other")
    other.current()
    with pytest.raises(ssl.SSLCertVerificationError):
        served_certificate(tls, trust=other.certificate)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_new_tls_versions_are_accepted(tmp_path: Path, version: ssl.TLSVersion) -> None:
    assert served_certificate(ReloadingTls(DeviceCertificate(tmp_path).current), version=version)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_versions_are_refused(tmp_path: Path, version: ssl.TLSVersion) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        served_certificate(ReloadingTls(DeviceCertificate(tmp_path).current), version=version)


def test_a_changed_pair_is_used_for_new_connections(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    one, two = DeviceCertificate(tmp_path / "one"), DeviceCertificate(tmp_path / "two")
    one.current()
    two.current()
    tls = ReloadingTls(lambda: (str(one.certificate), str(one.key)), check_s=0)
    before = served_certificate(tls)
    assert served_certificate(tls) == before
    for name in ("key", "certificate"):
        getattr(one, name).write_bytes(getattr(two, name).read_bytes())
    assert x509.load_der_x509_certificate(served_certificate(tls)) == loaded(two) != before
    assert any("was changed" in message for message in caplog.messages)


@pytest.mark.parametrize("half", ["key", "certificate"])
def test_a_mismatched_pair_keeps_the_previous_one(
    tmp_path: Path, half: str, caplog: pytest.LogCaptureFixture
) -> None:
    device = DeviceCertificate(tmp_path)
    device.current()
    tls = ReloadingTls(lambda: (str(device.certificate), str(device.key)), check_s=0)
    before = served_certificate(tls)
    sound = getattr(device, half).read_bytes()
    getattr(device, half).write_bytes(b"half of it")
    assert served_certificate(tls) == before
    assert served_certificate(tls) == before
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    getattr(device, half).write_bytes(sound)
    assert served_certificate(tls) == before


def test_a_failed_renewal_keeps_the_previous_certificate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    device, broken = DeviceCertificate(tmp_path), False

    def pair() -> tuple[str, str]:
        if broken:
            raise StoreError("no room")
        return device.current()

    tls = ReloadingTls(pair, check_s=0)
    before = served_certificate(tls)
    broken = True
    assert served_certificate(tls) == before
    assert "no room" in caplog.text


def test_a_missing_pair_at_the_start_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="certificate and key cannot be used"):
        ReloadingTls(lambda: (str(tmp_path / "a"), str(tmp_path / "b"))).context()


def test_a_key_with_a_passphrase_is_an_error_without_a_prompt(tmp_path: Path) -> None:
    device = DeviceCertificate(tmp_path)
    device.current()
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", device.key, "-aes256", "-passout", "pass:x", "-out", locked],
        check=True,
        capture_output=True,
    )
    with pytest.raises(ConfigError, match="passphrase"):
        ReloadingTls(lambda: (str(device.certificate), str(locked))).context()
