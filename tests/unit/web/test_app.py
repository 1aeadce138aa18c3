"""What the application answers, without a server: errors, the public health, the pictures of one viewer."""

from __future__ import annotations

import threading
import time

import pytest
from flask.testing import FlaskClient

from appliance.values import Picture
from appliance.viewers import BARE
from appliance.web.app import create_app
from appliance.web.pages.live import Parts, Pictures
from appliance.web.security.caller import LOOPBACK, Caller
from appliance.web.site import Site
from tests.fakes.parts import WITHIN_S, frame
from tests.fakes.sites import make_site


@pytest.fixture
def site() -> Site:
    return make_site()


@pytest.fixture
def client(site: Site) -> FlaskClient:
    client = create_app(site).test_client()
    client.environ_base["REMOTE_ADDR"] = "127.0.0.1"
    return client


# --- errors ---


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "carried"),
    [
        ("POST", "/", {}, 405, "Allow"),
        ("GET", "/static/live.js", {"Range": "bytes=99999999-"}, 416, "Content-Range"),
        ("GET", "/nowhere", {}, 404, None),
    ],
)
def test_an_error_is_json_once_and_keeps_its_own_headers(
    client: FlaskClient, method: str, path: str, headers: dict[str, str], status: int, carried: str | None
) -> None:
    with client.open(path, method=method, headers=headers) as answer:
        assert answer.status_code == status
        assert answer.headers.getlist("Content-Type") == ["application/json"]
        assert answer.headers.getlist("Content-Length") == [str(len(answer.data))]
        assert answer.json["error"]
        assert carried is None or answer.headers[carried]


@pytest.mark.parametrize(
    "body", [b"[" * 60_000, b'{"notice_version":' + b"[" * 60_000], ids=["list", "value"]
)
def test_json_nested_without_end_is_refused(client: FlaskClient, body: bytes) -> None:
    with client.post("/api/session/start", data=body, content_type="application/json") as answer:
        assert answer.status_code == 400
        assert "notice_version" in answer.json["error"]


# --- the public health ---


def test_the_public_health_names_no_path(site: Site, client: FlaskClient) -> None:
    site.session.start("1", "operator")
    site.health.set_camera_state("lost", "/home/alice/interviews/bob.mp4 is gone")
    health = client.get("/healthz")
    assert (health.status_code, health.json) == (503, {"status": "failing", "reason": "camera lost"})
    assert "bob.mp4" in client.get("/api/state").json["camera"]["reason"]


def test_a_start_is_neither_well_nor_a_fault(site: Site, client: FlaskClient) -> None:
    site.session.start("1", "operator")
    health = client.get("/healthz")
    assert (health.status_code, health.json["status"]) == (503, "starting")
    site.health.set_camera_state("open")
    site.health.record_frame(frame(1, time.monotonic()))
    assert client.get("/healthz").status_code == 200


# --- one viewer's pictures ---


def picture(site: Site, jpeg: bytes = b"jpeg") -> Picture:
    return Picture(1, time.monotonic(), site.session.agreement, True, {BARE: jpeg})


def test_a_picture_that_comes_with_the_stop_is_handed_to_nobody(site: Site) -> None:
    site.session.start("1", "operator")
    pictures, found = Pictures(site, BARE, Caller(LOOPBACK, "operator")), []
    late = picture(site)
    waiting = threading.Thread(target=lambda: found.append(pictures.next(WITHIN_S)))
    waiting.start()
    site.session.stop("operator")
    site.jpegs.put(late)
    waiting.join(WITHIN_S)
    pictures.close()
    assert found == [None]


def test_a_picture_under_way_ends_with_the_agreement(site: Site) -> None:
    site.session.start("1", "operator")
    parts = Parts(Pictures(site, BARE, Caller(LOOPBACK, "operator")))
    site.jpegs.put(picture(site, bytes(400_000)))
    sent = len(next(parts)) + len(next(parts))
    site.session.stop("operator")
    sent += sum(map(len, parts))
    parts.close()
    assert 0 < sent < 100_000
    assert site.viewers.count == 0


def test_a_whole_picture_comes_in_slices_with_its_length_and_the_next_boundary(site: Site) -> None:
    site.session.start("1", "operator")
    parts, body = Parts(Pictures(site, BARE, Caller(LOOPBACK, "operator"))), b""
    for _ in range(2):
        site.jpegs.put(picture(site, b"x" * 50_000))
        while not body.endswith(b"\r\n--interview-grader-picture\r\n"):
            piece = next(parts)
            assert len(piece) <= 16_384
            body += piece
        head, _, rest = body.partition(b"\r\n\r\n")
        assert b"Content-Length: 50000" in head
        assert rest == b"x" * 50_000 + b"\r\n--interview-grader-picture\r\n"
        body = b""
    parts.close()
