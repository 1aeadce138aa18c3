"""Answers of the application, without a server: errors, the public health, the pictures of one viewer."""

from __future__ import annotations

import threading
import time

import pytest
from flask.testing import FlaskClient

from appliance.values import Picture
from appliance.web.app import create_app
from appliance.web.context import AppContext
from appliance.web.framing import frame_picture
from appliance.web.pages.live import PictureStream
from appliance.web.security.caller import LOOPBACK, Caller
from tests.fakes.consent import NOTICE
from tests.fakes.parts import BARE, WITHIN_S, frame
from tests.fakes.web import make_context


@pytest.fixture
def context() -> AppContext:
    return make_context()


@pytest.fixture
def client(context: AppContext) -> FlaskClient:
    client = create_app(context).test_client()
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
def test_deeply_nested_json_is_refused(client: FlaskClient, body: bytes) -> None:
    with client.post("/api/session/start", data=body, content_type="application/json") as answer:
        assert answer.status_code == 400
        assert "notice_version" in answer.json["error"]


# --- frames ---


def test_only_the_own_pages_may_frame_a_page(client: FlaskClient) -> None:
    with client.get("/") as answer:
        assert answer.headers["Content-Security-Policy"].endswith("; frame-ancestors 'self'")
        assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"


def test_frame_ancestors_may_frame_a_page_too() -> None:
    context = make_context(frame_ancestors=("https://one.example", "http://two.example:8123"))
    with create_app(context).test_client().get("/healthz", base_url="http://127.0.0.1") as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert policy.endswith("; frame-ancestors 'self' https://one.example http://two.example:8123")
        assert "X-Frame-Options" not in answer.headers, "it would forbid what the policy allows"


# --- the public health ---


def test_the_public_health_names_no_path(context: AppContext, client: FlaskClient) -> None:
    context.session.start(NOTICE, "operator")
    context.health.set_camera_state("lost", "/home/alice/interviews/bob.mp4 is gone")
    health = client.get("/healthz")
    assert (health.status_code, health.json) == (503, {"status": "failing", "reason": "camera lost"})
    assert "bob.mp4" in client.get("/api/state").json["camera"]["reason"]


def test_health_is_starting_before_the_first_frame(context: AppContext, client: FlaskClient) -> None:
    context.session.start(NOTICE, "operator")
    health = client.get("/healthz")
    assert (health.status_code, health.json["status"]) == (503, "starting")
    context.health.set_camera_state("open")
    context.health.record_frame(frame(1, time.monotonic()))
    assert client.get("/healthz").status_code == 200


# --- one viewer's pictures ---


def picture(context: AppContext, jpeg: bytes = b"jpeg") -> Picture:
    return Picture(1, time.monotonic(), context.session.consent_epoch, True, {BARE: jpeg})


def test_a_picture_that_arrives_after_stop_is_not_delivered(context: AppContext) -> None:
    context.session.start(NOTICE, "operator")
    pictures, found = PictureStream(context, BARE, Caller(LOOPBACK, "operator")), []
    late = picture(context)
    waiting = threading.Thread(target=lambda: found.append(pictures.next(WITHIN_S)))
    waiting.start()
    context.session.stop("operator")
    context.live.pictures.put(late)
    waiting.join(WITHIN_S)
    pictures.close()
    assert found == [None]


def test_a_picture_is_sent_with_its_length_and_the_next_boundary(context: AppContext) -> None:
    context.session.start(NOTICE, "operator")
    framed = frame_picture(picture(context, b"x" * 50_000), BARE)
    head, _, rest = framed.partition(b"\r\n\r\n")
    assert b"Content-Length: 50000" in head
    assert rest == b"x" * 50_000 + b"\r\n--interview-grader-picture\r\n"
