"""Edge cases of accounts, limits, tokens and the certificate: the last valid value, the first invalid one."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from pydantic import BaseModel

from appliance.auth import passwords
from appliance.auth.accounts import CODE_ALPHABET, Accounts, normalise_code
from appliance.auth.certificate import RENEW, DeviceCertificate, _is_due
from appliance.auth.clock import ForwardClock
from appliance.auth.cookies import Cookies, Login
from appliance.auth.files import PrivateFile
from appliance.auth.passwords import LONGEST, SHORTEST, Passwords
from appliance.auth.rate_limits import FREE_TRIES, MOST_ADDRESSES, AttemptLimiter, RequestRates
from appliance.auth.tokens import Tokens
from appliance.errors import AccessError, StoreError, TooManyAttempts
from appliance.system.host_names import device_names
from tests.machine import ROOT

HERE = "192.0.2.7"


class SetClock(ForwardClock):
    """A clock that a test sets."""

    at = 1_795_000_000.0

    def now(self) -> float:
        return self.at


def made(folder: Path) -> x509.Certificate:
    path, _ = DeviceCertificate(folder).current()
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


def test_logins_that_end_at_the_same_moment_both_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a board whose clock stands still until the network sets it."""
    accounts = Accounts(tmp_path, Passwords(memory_kib=8, passes=1))
    assert accounts.claim(accounts.new_first_code(), "a long enough password")
    epoch = accounts.epoch("operator")
    monkeypatch.setattr(time, "time", lambda: 1_795_000_000.0)
    assert accounts.role_of("operator", epoch, "one") == "operator"
    for login in ("one", "other"):
        accounts.end_login(login, 3600.0)
    assert accounts.role_of("operator", epoch, "one") == ""
    assert accounts.role_of("operator", epoch, "other") == ""


def test_a_first_code_has_sixty_bits(tmp_path: Path) -> None:
    code = normalise_code(Accounts(tmp_path, Passwords(memory_kib=8, passes=1)).new_first_code())
    assert len(code) * math.log2(len(CODE_ALPHABET)) == 60.0
    assert set(code) <= set(CODE_ALPHABET)


@pytest.mark.parametrize(
    ("length", "right"), [(SHORTEST - 1, False), (SHORTEST, True), (LONGEST, True), (LONGEST + 1, False)]
)
def test_the_shortest_and_the_longest_password(length: int, right: bool) -> None:
    passwords = Passwords(memory_kib=8, passes=1)
    password = "p" * length
    if right:
        assert passwords.verify(passwords.hash(password), password)
    else:
        with pytest.raises(AccessError):
            passwords.hash(password)


def test_wrong_attempts_are_remembered_for_a_quarter_of_an_hour() -> None:
    now = [1000.0]
    tries = AttemptLimiter(lambda: now[0])
    for _ in range(FREE_TRIES):
        tries.begin(HERE)
    now[0] += 899.0
    tries.begin(HERE)
    with pytest.raises(TooManyAttempts):
        tries.begin(HERE)


def test_many_addresses_do_not_free_later_ones() -> None:
    tries = AttemptLimiter(lambda: 1000.0)
    for number in range(MOST_ADDRESSES):
        tries.begin(f"10.0.{number // 256}.{number % 256}")
    for _ in range(FREE_TRIES):
        tries.begin(HERE)
    with pytest.raises(TooManyAttempts):
        tries.begin(HERE)


def test_a_hundred_tokens_are_the_limit(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    for number in range(100):
        tokens.create(f"script-{number}", "viewer")
    with pytest.raises(AccessError, match="100 tokens are the limit"):
        tokens.create("one-more", "viewer")


@pytest.mark.parametrize(
    ("idle_s", "age_s", "due"),
    [(3600.0, 60.0, False), (3600.0, 61.0, True), (100.0, 10.0, False), (100.0, 10.5, True)],
)
def test_a_cookie_is_renewed_after_a_minute_or_a_tenth_of_the_idle_time(
    idle_s: float, age_s: float, due: bool
) -> None:
    assert Cookies(b"k" * 32, idle_s).is_due(Login("anna", "e", "i", 0.0, age_s)) is due


@pytest.mark.parametrize(("age_s", "valid"), [(-0.5, False), (0.0, True), (600.0, True), (600.5, False)])
def test_a_cookie_is_valid_until_the_end_of_the_idle_time(age_s: float, valid: bool) -> None:
    clock = SetClock()
    cookies = Cookies(b"k" * 32, 600.0, clock=clock)
    text = cookies.text(cookies.begin("anna", "e"))
    clock.at += age_s
    assert (cookies.read(text) is not None) is valid


class Book(BaseModel):
    """The content of a private file."""

    names: dict[str, int] = {}


def test_a_failed_change_leaves_memory_unchanged(tmp_path: Path) -> None:
    file = PrivateFile(tmp_path / "book.json", Book)
    with file.edit() as book:
        book.names["kept"] = 1
    with pytest.raises(RuntimeError), file.edit() as book:
        book.names["lost"] = 2
        raise RuntimeError
    assert file.read().names == {"kept": 1}
    assert PrivateFile(file.path, Book).read() == file.read()


def test_only_a_damaged_file_is_set_aside_and_its_new_path_is_returned(tmp_path: Path) -> None:
    file = PrivateFile(tmp_path / "book.json", Book)
    assert file.set_aside() is None
    with file.edit() as book:
        book.names["kept"] = 1
    assert file.set_aside() is None
    file.path.write_text("{")
    aside = file.set_aside()
    assert aside is not None and aside.read_text() == "{" and not file.path.exists()


def test_the_last_use_of_a_token_is_recorded_once_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_795_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    tokens = Tokens(tmp_path)
    secret = tokens.create("backup", "viewer")
    seen = []
    for later_s in (0.0, 3599.0, 1.0, 3599.0, -8000.0):
        now[0] += later_s
        assert tokens.find(secret) == ("backup", "viewer")
        seen.append(tokens.all()["backup"].used - 1_795_000_000.0)
    assert seen == [0.0, 0.0, 3600.0, 3600.0, -801.0], "also if the clock was set back by more"


def test_a_use_that_cannot_be_recorded_is_retried_once_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1_795_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    tokens = Tokens(tmp_path)
    secret = tokens.create("backup", "viewer")

    def full(path: Path, content: bytes) -> None:
        raise StoreError("no space is left")

    monkeypatch.setattr("appliance.auth.files.write_private", full)
    warnings = []
    for later_s in (0.0, 3599.0, 1.0):
        now[0] += later_s
        assert tokens.find(secret) == ("backup", "viewer")
        warnings.append(len(caplog.records))
    assert warnings == [1, 1, 2]


def test_a_token_revoked_while_its_use_is_recorded_stays_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Tokens(tmp_path)
    secret = tokens.create("backup", "viewer")
    changed = tokens._file.edit

    def revoked_first() -> AbstractContextManager[Any]:
        Tokens(tmp_path).revoke("backup")
        return changed()

    monkeypatch.setattr(tokens._file, "edit", revoked_first)
    assert tokens.find(secret) == ("backup", "viewer"), "it was valid when it was used"
    assert tokens.all() == {} and tokens.find(secret) is None


def test_a_certificate_is_renewed_when_it_is_due(tmp_path: Path) -> None:
    certificate = made(tmp_path)
    due = certificate.not_valid_after_utc - RENEW
    assert not _is_due(certificate, due) and _is_due(certificate, due + timedelta(seconds=1))


def test_a_browser_with_a_slow_clock_accepts_the_certificate(tmp_path: Path) -> None:
    began = made(tmp_path).not_valid_before_utc
    assert began <= datetime.now(timezone.utc) - timedelta(hours=23)


def test_the_certificate_names_the_device_and_is_no_ca(
    tmp_path: Path,
) -> None:
    certificate = made(tmp_path)
    (name,) = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert name.value == device_names()[0] and len(device_names()) > 1
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    assert not any(getattr(usage, each) for each in (*others, "key_cert_sign", "crl_sign"))


def test_the_fingerprint_is_the_one_that_browsers_show(tmp_path: Path) -> None:
    certificate = made(tmp_path)
    shown = DeviceCertificate(tmp_path).fingerprint().replace(":", "").lower()
    assert shown == certificate.fingerprint(hashes.SHA256()).hex()


def test_too_many_requests_report_when_the_next_is_allowed() -> None:
    rates = RequestRates(0.5, lambda: 1000.0)
    for _ in range(2):
        rates.take(HERE)
    with pytest.raises(TooManyAttempts) as refused:
        rates.take(HERE)
    assert refused.value.wait_s == pytest.approx(2.0)


def test_an_attempt_waits_as_long_as_documented() -> None:
    page = (ROOT / "docs/decisions/0018-passwords-and-guessing.md").read_text()
    assert f"waits longer than {passwords.PATIENCE_S:g} s gets 429" in page
