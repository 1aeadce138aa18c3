"""Every JSON answer is as its model describes it: exactly these keys, in this order."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import BaseModel

from appliance.reading_json import reading_json
from appliance.values import ExpressionResult, Movement, Person, Pose
from appliance.web.api import models
from appliance.web.app import create_app
from appliance.web.context import AppContext
from tests.fakes.consent import NOTICE
from tests.fakes.parts import face, frame, person, reading, scores
from tests.fakes.records import ID, second, session_info
from tests.fakes.web import make_context


def assert_as_described(model: type[BaseModel], answer: dict[str, Any]) -> None:
    """The answer validates, has no key that the model lacks, and keeps the order of the model."""
    parsed = model.model_validate(answer)
    assert list(flat_keys(answer)) == list(flat_keys(parsed.model_dump(by_alias=True)))
    assert extra_keys(parsed) == []


def flat_keys(value: Any) -> Iterator[str]:
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield key
        yield from flat_keys(inner)
    for inner in value if isinstance(value, list) else ():
        yield from flat_keys(inner)


def extra_keys(value: Any) -> list[str]:
    if isinstance(value, BaseModel):
        return [*(value.model_extra or ()), *extra_keys(list(value.__dict__.values()))]
    return [key for inner in value for key in extra_keys(inner)] if isinstance(value, list) else []


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


UNREADABLE = Person(
    2,
    face(9, 9, 9),
    ExpressionResult(None, "turned", Pose(51.3, -3.0, 0.0)),
    None,
    "not_readable",
    Movement(0.1, None, 1, 0),
)


def test_a_reading() -> None:
    found = reading(frame(), person(1, face(9, 9, 9), scores(happy=3)), UNREADABLE)
    assert_as_described(models.Reading, json.loads(json.dumps(reading_json(found, "a.mp4"))))


def test_the_state_while_idle(client: FlaskClient) -> None:
    assert_as_described(models.State, client.get("/api/state").json)


def test_the_state_while_live(client: FlaskClient, context: AppContext) -> None:
    context.session.start(NOTICE, "operator")
    taken = replace(frame(7, time.monotonic()), consent_epoch=context.session.consent_epoch)
    context.health.set_camera_state("open")
    context.health.record_frame(taken)
    context.live.readings.put(reading(taken, person(1, face(9, 9, 9), scores(happy=3)), UNREADABLE))
    state = client.get("/api/state").json
    assert_as_described(models.State, state)
    assert (state["camera"]["frame"], state["camera"]["width"]) == (7, taken.width)
    assert [shown["id"] for shown in state["reading"]["faces"]] == [1, 2]
    assert state["session"]["people"] == 1


def test_the_answers_to_a_start(client: FlaskClient) -> None:
    started = client.post("/api/session/start", json={"notice_version": NOTICE}).json
    assert_as_described(models.Started, started)
    assert client.get("/api/session/link").json == {"link": started["link"], "qr": started["qr"]}


def test_a_start_without_living_people_gives_no_link() -> None:
    client = create_app(make_context(needs_consent=False)).test_client()
    client.environ_base["REMOTE_ADDR"] = "127.0.0.1"
    assert client.post("/api/session/start", json={"notice_version": NOTICE}).json == {"state": "live"}


def test_recorded_sessions(client: FlaskClient, context: AppContext) -> None:
    context.store.begin(session_info())
    context.store.add(ID, [second(0), second(1), second(1, 2, scored=0, dark=3)])
    context.store.mark(ID, "question 2")
    context.store.end(ID)
    assert_as_described(models.Sessions, client.get("/api/sessions").json)
    assert_as_described(models.Recorded, client.get(f"/api/sessions/{ID}").json)
