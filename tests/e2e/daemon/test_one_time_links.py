"""One-time links over a real TLS server: who makes them, what a guest may do, and how they end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from appliance.media.ingest import Ingest
from appliance.web.app import create_app
from appliance.web.context import AppContext
from tests.e2e.daemon.driver import until
from tests.e2e.daemon.test_every_route import UPGRADE
from tests.fakes.browser_camera import browser_camera
from tests.fakes.far import Client, served_far
from tests.fakes.web import make_context

PASSWORD = "a long enough password"
GUEST = "__Host-interview-grader-guest"
WITHIN_S = 15.0


@dataclass(frozen=True)
class Device:
    """A device with an operator who is logged in."""

    context: AppContext
    port: int
    folder: Path
    operator: Client

    def link(self, page: str = "camera") -> str:
        """The path of a new link."""
        answer = self.create(page)
        assert answer[0] == 200, answer
        assert str(answer[1]["qr"]).startswith("data:image/svg")
        link = urlsplit(str(answer[1]["link"]))
        assert (link.scheme, link.port) == ("https", self.port)
        return link.path

    def create(self, page: str) -> tuple[int, dict[str, object]]:
        answer = self.operator.post_json(
            "/api/link", {"page": page}, {"X-CSRF-Token": self.operator.token("/camera")}
        )
        return answer.status, json.loads(answer.body)

    def phone(self) -> Client:
        return Client(self.port, self.folder, cookie_name=GUEST)

    def guest(self) -> Client:
        phone = self.phone()
        assert phone.submit(self.link(), {}).status == 303
        return phone

    def audit(self) -> list[tuple[str, str]]:
        entries = self.context.audit.entries()
        return [(entry["who"], entry["what"]) for entry in entries if "link" in str(entry.get("what"))]


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    context = make_context(login=True, ingest=Ingest())
    assert context.auth.accounts.claim(context.auth.accounts.new_first_code(), PASSWORD)
    with served_far(create_app(context), tmp_path) as server:
        operator = Client(server.port, tmp_path)
        assert operator.log_in("operator", PASSWORD).status == 303
        yield Device(context, server.port, tmp_path, operator)


def test_a_phone_opens_the_camera_page_with_a_link_and_nothing_else(device: Device) -> None:
    link, phone = device.link(), device.phone()
    assert phone.request("/camera").status == 401
    for _ in range(2):
        shown = phone.request(link)
        assert shown.status == 200 and "Continue" in shown.text and not phone.cookie, "looking uses nothing"
    used = phone.submit(link, {})
    assert (used.status, used.headers["Location"]) == (303, "/camera")
    for attribute in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"):
        assert attribute in used.headers["Set-Cookie"]
    page = phone.request("/camera")
    assert page.status == 200 and 'data-guest="yes"' in page.text and "/access" not in page.text
    assert phone.request("/ws/camera", headers=UPGRADE, whole=False).status == 101
    for path in (
        "/",
        "/api/state",
        "/snapshot.jpg",
        "/sessions",
        "/access",
        "/aim.jpg",
        "/metrics",
        "/about",
    ):
        assert phone.request(path).status == 401, path
    assert phone.post_json("/api/session/start", {"notice_version": "1"}).status == 401
    assert phone.post_json("/api/link", {"page": "camera"}).status == 401


def test_a_link_works_once(device: Device) -> None:
    link = device.link()
    assert device.phone().submit(link, {}).status == 303
    for _ in range(2):
        other = device.phone()
        assert other.request(link).status == 404 and other.submit(link, {}).status == 404
        assert not other.cookie
    assert "This link has ended" in device.phone().request(link).text


def test_what_it_is_used_for_is_in_the_audit_log_without_the_link(device: Device) -> None:
    link = device.link()
    device.phone().submit(link, {})
    assert device.audit() == [
        ("operator", "one-time link to /camera made"),
        ("guest:camera", "one-time link to /camera used"),
    ]
    assert link.rpartition("/")[2] not in device.context.audit.path.read_text()


def test_it_ends_with_the_login_of_the_operator(device: Device) -> None:
    guest, unused = device.guest(), device.link()
    assert guest.request("/camera").status == 200
    assert device.operator.submit("/logout", {"csrf_token": device.operator.token("/camera")}).status == 303
    assert guest.request("/camera").status == 401
    assert guest.request("/ws/camera", headers=UPGRADE).status == 401
    assert device.phone().submit(unused, {}).status == 404


def test_it_ends_a_connection_with_the_login_of_the_operator(device: Device) -> None:
    guest = device.guest()
    cookie = {"Cookie": f"{GUEST}={guest.cookie}"}
    url = f"wss://127.0.0.1:{device.port}/ws/camera"
    with browser_camera(url, headers=cookie, tls=guest.context()) as sender:
        assert sender.closed is None
        device.operator.submit("/logout", {"csrf_token": device.operator.token("/camera")})
        assert until(lambda: sender.closed, WITHIN_S, "closed")[0] == 1001


def test_there_is_no_link_to_a_page_that_is_missing(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.web.pages.one_time_links.linkable_pages", list)
    assert device.create("webcam") == (409, {"error": "this device has no page /webcam"})


def test_an_operator_who_is_idle_does_not_end_it(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = device.guest()
    monkeypatch.setattr(type(device.context.auth.idle), "is_idle", lambda self, login: True)
    assert guest.request("/camera").status == 200


def test_guesses_are_slowed_down(device: Device) -> None:
    phone = device.phone()
    answers = [phone.request(f"/link/{number:022}").status for number in range(7)]
    assert answers[:5] == [404] * 5 and 429 in answers[5:]


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_another_site_cannot_use_a_link(device: Device, headers: dict[str, str]) -> None:
    phone, link = device.phone(), device.link()
    assert phone.request(link, "POST", body=b"", headers=headers).status == 403
    assert phone.submit(link, {}).status == 303


def test_without_a_browser_as_the_camera_there_is_no_link_to_it(tmp_path: Path) -> None:
    context = make_context(login=True)
    assert context.auth.accounts.claim(context.auth.accounts.new_first_code(), PASSWORD)
    with served_far(create_app(context), tmp_path) as server:
        operator = Client(server.port, tmp_path)
        operator.log_in("operator", PASSWORD)
        page = operator.request("/camera")
        assert page.status == 409 and "camera.backend = " in page.text
        answer = operator.post_json("/api/link", {"page": "camera"}, {"X-CSRF-Token": operator.token()})
        assert answer.status == 409 and re.search("the camera of this device is usb", answer.text)
        socket = operator.request("/ws/camera", headers=UPGRADE)
        assert socket.status == 409 and "camera.backend" in socket.text


def test_a_guest_of_the_webcam_page_may_send_pictures_to_be_read_and_nothing_else(device: Device) -> None:
    links = device.context.auth.one_time_links
    used = links.redeem(links.create("webcam", lambda: True))
    assert used is not None
    guest = Client(device.port, device.folder, cookie=used[1], cookie_name=GUEST)
    assert guest.request("/ws/analyze").status == 422, "only the consent is missing"
    refused = guest.request("/api/analyze?consent=yes", "POST", body=b"", headers={"Origin": guest.origin})
    assert refused.status == 403 and "page's token" in refused.text
    for path in ("/camera", "/ws/camera", "/", "/api/state", "/sessions"):
        assert guest.request(path).status == 401, path
