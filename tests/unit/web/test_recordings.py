"""The pages and exports of what was recorded, without a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.web.app import create_app
from appliance.web.context import AppContext
from tests.fakes.records import ID, OTHER, Time, record, second, session_info
from tests.fakes.web import make_context

MISSING = "eeeeeeeeeeee"


@pytest.fixture
def context() -> Iterator[AppContext]:
    made = make_context()
    yield made
    made.store.close()


@pytest.fixture
def client(context: AppContext) -> FlaskClient:
    client = create_app(context).test_client()
    client.environ_base["REMOTE_ADDR"] = "127.0.0.1"
    return client


@pytest.fixture
def recorded(context: AppContext) -> AppContext:
    context.store.begin(session_info(label="<b>practice</b>", note="a & b"))
    context.store.add(ID, [second(0), second(1), second(1, 2, scored=0, dark=3)])
    context.store.mark(ID, "question <2>")
    context.store.end(ID)
    record(context.store, Time(), OTHER)
    return context


def audit(context: AppContext) -> list[tuple[Any, ...]]:
    return [(entry["event"], entry["who"], entry.get("session")) for entry in context.audit.entries()]


def test_nothing_recorded(client: FlaskClient) -> None:
    assert b"Nothing has been recorded" in client.get("/sessions").data
    assert client.get("/api/sessions").json == {"sessions": []}


def test_the_list(client: FlaskClient, recorded: AppContext) -> None:
    listed = client.get("/api/sessions").json
    assert listed is not None
    assert [each["id"] for each in listed["sessions"]] == [OTHER, ID]
    page = client.get("/sessions").get_data(as_text=True)
    assert "&lt;b&gt;practice&lt;/b&gt;" in page
    assert f'href="/sessions/{ID}"' in page


def test_one_session(client: FlaskClient, recorded: AppContext) -> None:
    page = client.get(f"/sessions/{ID}").get_data(as_text=True)
    for words in (
        "An expression is not a feeling",
        "question &lt;2&gt;",
        "a &amp; b",
        "Person 2",
        "dark 3",
        "<polygon",
    ):
        assert words in page
    assert "style=" not in page
    table = client.get(f"/api/sessions/{ID}").json
    assert table is not None
    assert [each["person"] for each in table["persons"]] == [1, 2]


def test_pages_show_fear_as_fearful_and_json_keeps_the_key(client: FlaskClient, recorded: AppContext) -> None:
    for path in ("/", f"/sessions/{ID}"):
        page = client.get(path).get_data(as_text=True)
        assert 'data-emotion="fear"' in page, "styles and scripts use the key"
        assert ">fearful<" in page and ">fear<" not in page
        assert 'aria-label="fearful' in page and 'aria-label="fear"' not in page
    assert "fear" in client.get(f"/api/sessions/{ID}").json["persons"][0]["means"]


@pytest.mark.parametrize(
    ("kind", "mime"), [("csv", "text/csv"), ("json", "application/json"), ("pdf", "application/pdf")]
)
def test_an_export_is_a_file_and_in_the_audit_log(
    client: FlaskClient, recorded: AppContext, kind: str, mime: str
) -> None:
    answer = client.get(f"/sessions/{ID}/export.{kind}")
    assert answer.status_code == 200
    assert answer.mimetype == mime
    assert answer.headers["Content-Disposition"] == f'attachment; filename="session-{ID}.{kind}"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert ID.encode() in answer.data
    assert audit(recorded) == [("export", "loopback", ID)]


def test_erasing(client: FlaskClient, recorded: AppContext) -> None:
    answer = client.post(f"/sessions/{ID}/erase")
    assert answer.json == {"erased": ID}
    assert [kept.id for kept in recorded.store.sessions()] == [OTHER]
    assert audit(recorded) == [("erase", "loopback", ID)]
    assert client.post(f"/sessions/{ID}/erase").status_code == 404


def test_a_session_that_is_recorded_is_not_erased_from_the_list(
    client: FlaskClient, context: AppContext
) -> None:
    context.store.begin(session_info())
    answer = client.post(f"/sessions/{ID}/erase")
    assert answer.status_code == 409
    assert b"being recorded" in client.get("/sessions").data
    assert context.store.session(ID) is not None


@pytest.mark.parametrize("id", [MISSING, "x", "..", "0123456789AB", "%27%20OR%201"])
@pytest.mark.parametrize("path", ["/sessions/{}", "/api/sessions/{}", "/sessions/{}/export.csv"])
def test_an_unknown_session_is_404(client: FlaskClient, recorded: AppContext, id: str, path: str) -> None:
    assert client.get(path.format(id)).status_code in (404, 308)
    assert audit(recorded) == []


def test_another_format_is_404(client: FlaskClient, recorded: AppContext) -> None:
    assert client.get(f"/sessions/{ID}/export.exe").status_code == 404


def test_viewers_may_not_see_recordings(client: FlaskClient, recorded: AppContext) -> None:
    client.environ_base["REMOTE_ADDR"] = "192.0.2.7"
    for path in (
        "/sessions",
        "/api/sessions",
        f"/sessions/{ID}",
        f"/api/sessions/{ID}",
        f"/sessions/{ID}/export.csv",
    ):
        assert client.get(path).status_code == 403
    assert client.post(f"/sessions/{ID}/erase").status_code == 403


def test_the_state_has_the_state_of_the_store(client: FlaskClient, context: AppContext) -> None:
    assert client.get("/api/state").json["storage"] == {"state": "ok", "reason": None}
    context.store.path.write_bytes(b"damaged" * 100)
    context.store.tick()
    storage = client.get("/api/state").json["storage"]
    assert storage["state"] == "set_aside"
    assert storage["reason"] in client.get("/sessions").get_data(as_text=True)


def test_records_that_cannot_be_opened_are_an_error_answer(client: FlaskClient, recorded: AppContext) -> None:
    recorded.store.close()
    recorded.store.path.write_bytes(b"")
    answer = client.get("/sessions")
    assert answer.status_code == 200
    assert json.loads(client.get("/api/sessions").data) == {"sessions": []}
