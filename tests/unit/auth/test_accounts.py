"""Accounts, passwords, first code, tokens and cookies: the files behind the login."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from argon2 import PasswordHasher
from hypothesis import given, settings
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from appliance.audit import AuditLog
from appliance.auth import files
from appliance.auth.accounts import OPERATOR, Accounts
from appliance.auth.clock import ForwardClock
from appliance.auth.cookies import Cookies, Login
from appliance.auth.files import load_key
from appliance.auth.passwords import THREAD, Passwords
from appliance.auth.reset import log_first_code, reset_access
from appliance.auth.service import make_auth_service
from appliance.auth.tokens import Tokens, digest_of
from appliance.errors import AccessError, StoreError, TooManyAttempts
from appliance.system.files import write_private
from appliance.system.native import as_owner

GOOD, OTHER = "a long enough password", "quite another password"


def cheap() -> Passwords:
    return Passwords(memory_kib=8, passes=1)


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path, cheap())


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- the first code ---


def test_first_code_sets_the_operators_password_once(accounts: Accounts) -> None:
    code = accounts.new_first_code()
    assert not accounts.has_operator()
    assert accounts.claim(code, GOOD)
    assert accounts.check(OPERATOR, GOOD)
    assert not accounts.claim(code, OTHER)
    assert accounts.check(OPERATOR, GOOD)


def test_a_first_code_is_available_until_it_is_used(accounts: Accounts, tmp_path: Path) -> None:
    assert accounts.first_code() is None
    code = accounts.new_first_code()
    assert accounts.first_code() == code
    newer = Accounts(tmp_path, cheap())
    assert newer.first_code() is None, "the file has only the digest"
    newer.new_first_code()
    assert accounts.first_code() is None, "another process made a newer code"
    code = accounts.reset()
    assert accounts.first_code() == code
    assert accounts.claim(code, GOOD)
    assert accounts.first_code() is None


def test_first_code_is_random_and_kept_as_a_hash(accounts: Accounts, tmp_path: Path) -> None:
    codes = {accounts.new_first_code() for _ in range(20)}
    assert len(codes) == 20
    kept = (tmp_path / "accounts.json").read_text()
    assert not any(code in kept or code.replace("-", "") in kept for code in codes)


def test_a_new_code_replaces_the_older_one(accounts: Accounts) -> None:
    old, new = accounts.new_first_code(), accounts.new_first_code()
    assert not accounts.claim(old, GOOD)
    assert accounts.claim(new, GOOD)


def test_a_code_may_be_typed_with_spaces_and_in_lower_case(accounts: Accounts) -> None:
    code = accounts.new_first_code()
    assert accounts.claim(f"  {code.lower().replace('-', ' ')} ", GOOD)


@pytest.mark.parametrize("code", ["", "AAAA-AAAA-AAAA", "é", "x" * 10_000])
def test_a_wrong_code_sets_no_password(accounts: Accounts, code: str) -> None:
    assert not accounts.claim(code, GOOD)
    accounts.new_first_code()
    assert not accounts.claim(code, GOOD)
    assert not accounts.has_operator()


def test_a_bad_password_does_not_use_the_code_up(accounts: Accounts) -> None:
    code = accounts.new_first_code()
    with pytest.raises(AccessError, match="10 to 256"):
        accounts.claim(code, "short")
    assert accounts.claim(code, GOOD)


def test_only_one_of_two_uses_of_the_code_succeeds(tmp_path: Path) -> None:
    code = Accounts(tmp_path, cheap()).new_first_code()
    both = [Accounts(tmp_path, cheap()) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        won = list(pool.map(lambda one: one.claim(code, GOOD), both))
    assert sorted(won) == [False, True]


def test_a_start_logs_a_code_only_while_there_is_no_password(
    accounts: Accounts, caplog: pytest.LogCaptureFixture
) -> None:
    log_first_code(accounts)
    (said,) = caplog.messages
    assert accounts.claim(said.split()[2].rstrip(":"), GOOD)
    log_first_code(accounts)
    assert caplog.messages == [said]


# --- accounts ---


def test_viewers_are_made_checked_and_removed(accounts: Accounts) -> None:
    accounts.add_viewer("anna", GOOD)
    assert accounts.roles() == {"anna": "viewer"}
    assert accounts.check("anna", GOOD)
    assert not accounts.check("anna", OTHER)
    assert not accounts.check("nobody", GOOD)
    accounts.remove("anna")
    assert accounts.roles() == {} and not accounts.check("anna", GOOD)


@pytest.mark.parametrize("name", ["", "Anna", "a b", "../x", "-a", "a" * 33, "änna", OPERATOR])
def test_an_invalid_name_is_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(AccessError):
        accounts.add_viewer(name, GOOD)
    assert accounts.roles() == {}


def test_a_name_cannot_be_used_twice(accounts: Accounts) -> None:
    accounts.add_viewer("anna", GOOD)
    with pytest.raises(AccessError, match="already"):
        accounts.add_viewer("anna", OTHER)
    assert accounts.check("anna", GOOD)


@pytest.mark.parametrize("password", ["", "short", "x" * 257])
def test_too_short_and_too_long_passwords_are_refused(accounts: Accounts, password: str) -> None:
    with pytest.raises(AccessError, match="10 to 256"):
        accounts.add_viewer("anna", password)


def test_the_operator_is_reset_and_never_removed(accounts: Accounts) -> None:
    accounts.claim(accounts.new_first_code(), GOOD)
    with pytest.raises(AccessError):
        accounts.remove(OPERATOR)
    assert accounts.has_operator()


def test_reset_erases_nothing_else_and_is_in_the_audit_log(accounts: Accounts, tmp_path: Path) -> None:
    accounts.claim(accounts.new_first_code(), GOOD)
    accounts.add_viewer("anna", GOOD)
    Tokens(tmp_path).create("backup", "viewer")
    epoch = accounts.epoch(OPERATOR)
    audit = AuditLog(tmp_path)
    code = reset_access(accounts, audit, "button")
    assert not accounts.check(OPERATOR, GOOD)
    assert accounts.role_of(OPERATOR, epoch, "any") == ""
    assert accounts.check("anna", GOOD) and list(Tokens(tmp_path).all()) == ["backup"]
    assert accounts.claim(code, OTHER)
    (entry,) = audit.entries()
    assert (entry["event"], entry["who"]) == ("access", "button")
    assert code not in json.dumps(entry)


def test_logins_end_with_a_new_password_removal_and_logout(accounts: Accounts) -> None:
    def role(epoch: str, login: str = "one") -> str:
        return accounts.role_of("anna", epoch, login)

    accounts.add_viewer("anna", GOOD)
    first = accounts.epoch("anna")
    assert role(first) == "viewer"
    accounts.end_login("one", 3600)
    assert role(first) == "" and role(first, "two") == "viewer"
    accounts.set_password("anna", OTHER)
    assert role(first, "two") == ""
    second = accounts.epoch("anna")
    accounts.end_logins("anna")
    assert role(second, "two") == ""
    third = accounts.epoch("anna")
    accounts.remove("anna")
    accounts.add_viewer("anna", GOOD)
    assert role(third, "two") == ""


def test_ended_logins_are_forgotten_when_their_cookies_are_void(accounts: Accounts, tmp_path: Path) -> None:
    accounts.end_login("old", 0)
    accounts.end_login("new", 0)
    assert list(json.loads((tmp_path / "accounts.json").read_text())["ended"]) == ["new"]


def test_changes_by_another_process_are_seen(tmp_path: Path) -> None:
    here, there = Accounts(tmp_path, cheap()), Accounts(tmp_path, cheap())
    assert here.roles() == {}
    there.add_viewer("anna", GOOD)
    assert here.check("anna", GOOD)
    there.remove("anna")
    assert not here.check("anna", GOOD)


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    def add(number: int) -> None:
        Accounts(tmp_path, cheap()).add_viewer(f"viewer{number}", GOOD)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    assert len(Accounts(tmp_path).roles()) == 24


# --- the files ---


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    Accounts(tmp_path / "state", cheap()).add_viewer("anna", GOOD)
    Tokens(tmp_path / "state").create("backup", "viewer")
    load_key(tmp_path / "state" / "cookie-key")
    assert {path.name: rights(path) for path in (tmp_path / "state").iterdir()} == dict.fromkeys(
        ("accounts.json", "accounts.lock", "tokens.json", "tokens.lock", "cookie-key"), 0o600
    )
    assert rights(tmp_path / "state") == 0o700


def test_a_file_left_by_a_power_cut_is_replaced_with_the_right_permissions(tmp_path: Path) -> None:
    left = tmp_path / "secret.part"
    left.write_text("half")
    left.chmod(0o644)
    write_private(tmp_path / "secret", b"whole")
    assert (tmp_path / "secret").read_bytes() == b"whole" and rights(tmp_path / "secret") == 0o600
    assert not left.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"accounts": 1}', b"\xff", b'{"unknown": 1}'])
def test_a_damaged_file_is_reported_and_reset_sets_it_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "accounts.json").write_bytes(content)
    accounts = Accounts(tmp_path, cheap())
    with pytest.raises(StoreError, match="access reset"):
        accounts.check(OPERATOR, GOOD)
    with pytest.raises(StoreError):
        accounts.add_viewer("anna", GOOD)
    assert (tmp_path / "accounts.json").read_bytes() == content
    assert accounts.claim(accounts.reset(), GOOD)
    assert (tmp_path / "accounts.damaged").read_bytes() == content


def test_the_key_is_made_once(tmp_path: Path) -> None:
    first = load_key(tmp_path / "cookie-key")
    assert len(first) == 32 and load_key(tmp_path / "cookie-key") == first


# --- passwords ---


def test_hashes_are_argon2id_salted_and_of_the_stated_cost() -> None:
    passwords = Passwords()
    one, two = passwords.hash(GOOD), passwords.hash(GOOD)
    assert one != two and one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert passwords.verify(one, GOOD) and not passwords.verify(one, OTHER)


def test_an_unknown_name_costs_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = cheap()
    kept = passwords.hash(GOOD)
    assert not passwords.verify(None, "a password that no account has")
    verified: list[str] = []
    verify = PasswordHasher.verify

    def counted(hasher: PasswordHasher, given: str, password: str) -> bool:
        verified.append(given.rsplit("$", 2)[0])
        return verify(hasher, given, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    passwords.verify(None, OTHER)
    passwords.verify(kept, OTHER)
    assert len(verified) == 2 and verified[0] == verified[1]


def test_a_malformed_hash_matches_nothing() -> None:
    assert not cheap().verify("nonsense", GOOD)


def test_passwords_are_hashed_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.auth.passwords.PATIENCE_S", 0.05)
    passwords, begun, done = cheap(), threading.Event(), threading.Event()

    def slow(password: str) -> str:
        begun.set()
        assert done.wait(10)
        return "hash"

    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(passwords, "_hasher", SimpleNamespace(hash=slow))
        first = pool.submit(passwords.hash, GOOD)
        assert begun.wait(10)
        try:
            with pytest.raises(TooManyAttempts) as refused:
                passwords.hash(GOOD)
        finally:
            done.set()
        assert first.result() == "hash"
    assert refused.value.wait_s > 0
    monkeypatch.undo()
    assert not passwords.verify(None, GOOD)


def test_every_hash_is_computed_in_the_same_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords, threads = cheap(), set()

    def noted(password: str) -> str:
        threads.add(threading.current_thread().name)
        return "hash"

    monkeypatch.setattr(passwords, "_hasher", SimpleNamespace(hash=noted))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(passwords.hash, [GOOD] * 8))
    assert len(threads) == 1 and threads.pop().startswith(THREAD)


# --- tokens ---


def test_a_token_is_shown_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    secret = tokens.create("backup", "viewer")
    assert tokens.find(secret) == ("backup", "viewer")
    assert secret not in (tmp_path / "tokens.json").read_text() and len(secret) > 40
    assert tokens.find(secret[:-1]) is None and tokens.find("") is None
    tokens.revoke("backup")
    assert tokens.find(secret) is None and tokens.role_of("backup", digest_of(secret)) == ""


@pytest.mark.parametrize(
    ("name", "role"), [("", "viewer"), ("A", "viewer"), ("a", "root"), ("a/b", "viewer")]
)
def test_a_token_needs_a_name_and_a_role(tmp_path: Path, name: str, role: str) -> None:
    with pytest.raises(AccessError, match="expected"):
        Tokens(tmp_path).create(name, role)
    assert Tokens(tmp_path).all() == {}


def test_a_name_has_at_most_one_token(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    tokens.create("backup", "viewer")
    with pytest.raises(AccessError, match="already"):
        tokens.create("backup", "operator")
    with pytest.raises(AccessError, match="existing tokens: backup"):
        tokens.revoke("other")


def test_the_last_use_is_written_at_most_once_an_hour(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    secret = tokens.create("backup", "viewer")
    assert tokens.all()["backup"].used == 0
    tokens.find(secret)
    used, written = tokens.all()["backup"].used, (tmp_path / "tokens.json").stat().st_ino
    assert abs(used - time.time()) < 60
    for _ in range(5):
        tokens.find(secret)
    assert (tmp_path / "tokens.json").stat().st_ino == written


def test_a_token_is_valid_even_if_its_use_cannot_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = Tokens(tmp_path)
    secret = tokens.create("backup", "viewer")

    def full(path: Path, data: bytes) -> None:
        raise StoreError("no room")

    monkeypatch.setattr(files, "write_private", full)
    assert tokens.find(secret) == ("backup", "viewer")
    assert "no room" in caplog.text


# --- the shell ---


def test_root_writes_as_the_owner_of_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, 65534, 65534)
    owner, became = tmp_path.stat(), []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "setegid", lambda group: became.append(("group", group)))
    monkeypatch.setattr(os, "seteuid", lambda user: became.append(("user", user)))
    group = os.getegid()
    with as_owner(tmp_path):
        assert became == [("group", owner.st_gid), ("user", owner.st_uid)]
    assert became[2:] == [("user", 0), ("group", group)], "afterwards the caller has its own ids again"
    with as_owner(tmp_path / "nowhere"):
        pass
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with as_owner(tmp_path):
        pass
    assert len(became) == 4


# --- cookies ---


def test_a_cookie_comes_back_as_its_login() -> None:
    cookies = Cookies(bytes(32), 60)
    login = cookies.begin("anna", "epoch")
    found = cookies.read(cookies.text(login))
    assert found is not None
    assert (found.name, found.epoch, found.id) == ("anna", "epoch", login.id)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_invalid_cookies_are_refused(text: str) -> None:
    assert Cookies(bytes(32), 60).read(text) is None


def test_a_cookie_of_another_device_or_purpose_is_refused() -> None:
    cookies = Cookies(bytes(32), 60)
    assert Cookies(b"\1" * 32, 60).read(cookies.text(cookies.begin("anna", "x"))) is None
    assert cookies.read(str(URLSafeSerializer(bytes(32), salt="other").dumps(["a", "b", "c", 0, 0]))) is None


class Clock:
    """The wall clock and the monotonic clock of a device; the wall clock can be set."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_900_000_000.0, 50.0

    def passes(self, seconds: float) -> None:
        self.wall, self.steady = self.wall + seconds, self.steady + seconds

    def forward(self) -> ForwardClock:
        return ForwardClock(lambda: self.wall, lambda: self.steady)


def test_a_cookie_ends_with_the_idle_time_and_is_renewed_before() -> None:
    clock = Clock()
    cookies = Cookies(bytes(32), 600, clock=clock.forward())
    text = cookies.text(cookies.begin("anna", "x"))
    seen = {}
    for step in (0, 30, 40, 525, 10):
        clock.passes(step)
        found = cookies.read(text)
        seen[clock.steady - 50] = None if found is None else cookies.is_due(found)
    assert seen == {0: False, 30: False, 70: True, 595: True, 605: None}


def test_a_cookie_in_use_ends_after_the_longest_time() -> None:
    clock = Clock()
    cookies = Cookies(bytes(32), idle_s=600, longest_s=86_400, clock=clock.forward())
    login: Login | None = cookies.begin("anna", "x")
    used_s = 0
    while login is not None:
        assert not cookies.is_over(login)
        text = cookies.text(login)  # renewed every five minutes
        clock.passes(300)
        used_s += 300
        login = cookies.read(text)
    assert used_s == 86_400 + 300


def test_a_cookie_from_the_future_is_refused() -> None:
    clock = Clock()
    text = Cookies(bytes(32), 600, clock=clock.forward()).text(Login("anna", "x", "id", clock.wall))
    clock.wall -= 3600
    assert Cookies(bytes(32), 600, clock=clock.forward()).read(text) is None, "after a restart"


def test_setting_the_clock_back_does_not_refresh_a_cookie() -> None:
    clock = Clock()
    cookies = Cookies(bytes(32), 600, clock=clock.forward())
    text = cookies.text(cookies.begin("anna", "x"))
    clock.passes(900)
    assert cookies.read(text) is None
    clock.wall -= 800
    assert cookies.read(text) is None
    clock.passes(60)
    assert cookies.read(cookies.text(cookies.begin("anna", "x"))), "new logins work meanwhile"


def test_setting_the_clock_back_revives_no_login(tmp_path: Path) -> None:
    clock, keep_s = Clock(), 86_400.0
    accounts = Accounts(tmp_path, cheap(), clock.forward())
    accounts.add_viewer("anna", GOOD)
    epoch = accounts.epoch("anna")
    accounts.end_login("first", keep_s)
    clock.wall -= 7200
    accounts.end_login("second", keep_s)
    assert accounts.role_of("anna", epoch, "first") == ""
    restarted = make_auth_service(tmp_path, login=True, passwords=cheap())
    restarted.accounts.end_login("third", keep_s)
    assert restarted.accounts.role_of("anna", epoch, "first") == ""


def test_after_a_restart_the_clock_is_not_behind_the_newest_logout(tmp_path: Path) -> None:
    ahead = time.time() + 10 * 86_400
    accounts = Accounts(tmp_path, cheap(), ForwardClock(lambda: ahead))
    accounts.end_login("any", 86_400)
    auth = make_auth_service(tmp_path, login=True, passwords=cheap())
    assert auth.cookies.begin("anna", "x").began >= ahead


def test_a_form_token_belongs_to_one_login() -> None:
    cookies = Cookies(bytes(32), 60)
    token = cookies.form_token("one")
    assert cookies.is_form_token("one", token)
    assert not cookies.is_form_token("two", token) and not cookies.is_form_token("one", "é")


def test_a_reader_never_sees_a_half_written_file(tmp_path: Path) -> None:
    accounts, over = Accounts(tmp_path, cheap()), threading.Event()
    accounts.add_viewer("anna", GOOD)
    faults: list[Exception] = []

    def read() -> None:
        other = Accounts(tmp_path, cheap())
        while not over.is_set():
            try:
                assert "anna" in other.roles()
            except Exception as error:
                faults.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(100):
        accounts.end_logins("anna")
    over.set()
    reader.join()
    assert faults == []
