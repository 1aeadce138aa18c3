"""Sessions over HTTP, with a stand-in for a camera that shows two living people."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from appliance.auth.rate_limits import FREE_TRIES
from tests.e2e.daemon.driver import DOUBLES, Daemon, agreement, running, until
from tests.e2e.daemon.driver_doubles import AIM, MARK, Noting, noting
from tests.e2e.daemon.driver_schema import check_state
from tests.fakes.consent import NOTICE


def audit(daemon: Daemon) -> list[dict[str, Any]]:
    lines = (daemon.folder / "state" / "audit.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def faces_until(daemon: Daemon, wanted: Callable[[list[Any]], bool], what: str) -> list[Any]:
    """The faces of the first matching reading."""
    with daemon.live() as client:
        end = time.monotonic() + 15
        while time.monotonic() < end:
            faces: list[Any] = json.loads(client.recv(10))["faces"]
            if wanted(faces):
                return faces
    raise AssertionError(f"not within 15 s: {what}")


# --- aiming ---


def test_the_preview_lights_the_lamp_and_analyses_no_one(living: Noting) -> None:
    daemon, noted = living
    assert daemon.request("/aim.jpg").status == 409
    answer = daemon.post("/api/session/aim", {})
    assert (answer.status, answer.json()) == (200, {"state": "aiming", "seconds": 60})
    jpeg = until(lambda: daemon.request("/aim.jpg"), 10, "an answer")
    until(lambda: daemon.request("/aim.jpg").status == 200, 10, "the blurred picture")
    assert [word for word in noted() if word != "inference"] == ["lamp-on", "open"]
    assert "inference" not in noted()
    state = daemon.state()
    check_state(state, backend="living")
    assert (state["state"], state["reading"]) == ("aiming", None)
    assert 0 < state["session"]["aiming_s"] <= 60
    for path in ("/stream.mjpg", "/snapshot.jpg"):
        assert daemon.request(path).status == 409
    for path, body in (
        ("record", {}),
        ("marker", {"text": "x"}),
        ("seat", {"seat": None}),
        ("withdraw", None),
    ):
        assert daemon.post(f"/api/session/{path}", body).status == 409, path
    assert jpeg.status in (200, 503)
    assert daemon.post("/api/session/stop").json() == {"state": "idle"}
    until(lambda: noted()[-2:] == ["close", "lamp-off"], 5, "closed, then dark")
    assert daemon.request("/aim.jpg").status == 409
    assert "inference" not in noted()
    assert [(entry["event"], entry["who"]) for entry in audit(daemon)] == [
        ("aiming", "loopback"),
        ("stop", "loopback"),
    ]


def test_the_preview_is_blurred(living: Noting) -> None:
    daemon, _ = living
    daemon.post("/api/session/aim", {})
    until(lambda: daemon.request("/aim.jpg").status == 200, 10, "the blurred picture")
    image = cv2.imdecode(np.frombuffer(daemon.request("/aim.jpg").body, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None and image.shape[1] == 640
    # No detail is finer than its blocks: scaled down to them and back it is the same picture.
    points = cv2.resize(image, (64, 36), interpolation=cv2.INTER_AREA)
    again = cv2.resize(points, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    inner = np.abs(image.astype(int) - again)[MARK:, MARK:]
    assert np.percentile(inner, 99) < 12
    daemon.post("/api/session/stop")


def test_frames_of_the_preview_are_never_analysed(living: Noting) -> None:
    daemon, noted = living
    daemon.post("/api/session/aim", {})
    until(lambda: daemon.request("/aim.jpg").status == 200, 10, "the blurred picture")
    assert daemon.start_session().status == 200
    faces_until(daemon, bool, "faces")
    words = noted()
    opened_again = len(words) - 1 - words[::-1].index("open")
    assert words.index("inference") > opened_again
    assert daemon.post("/api/session/aim", {}).status == 409
    assert daemon.request("/aim.jpg").status == 409


def test_the_preview_ends_automatically(tmp_path: Path) -> None:
    with running(tmp_path, *noting(tmp_path), module=DOUBLES, environment={AIM: "1.5"}) as daemon:
        daemon.post("/api/session/aim", {})
        until(lambda: daemon.state()["state"] == "idle", 5, "idle")
        until(lambda: (tmp_path / "record").read_text().split()[-2:] == ["close", "lamp-off"], 5, "dark")
        until(lambda: len(audit(daemon)) == 2, 5, "the line of the timer")
        assert [(entry["event"], entry["who"]) for entry in audit(daemon)] == [
            ("aiming", "loopback"),
            ("stop", "timer"),
        ]


# --- only those who agreed ---


def test_one_of_two_people_consents(living: Noting) -> None:
    daemon, noted = living
    assert daemon.start_session(people=1).status == 200
    faces = faces_until(daemon, lambda each: any(face["analysed"] for face in each), "a face is analysed")
    assert len(faces) == 2
    (other,) = [face for face in faces if not face["analysed"]]
    assert (other["label"], other["reason"], other["readable"]) == ("not_analysed", "not_agreed", False)
    assert other["emotions"] is other["emotions_raw"] is other["dominant"] is None
    assert other["pose"] is other["movement"] is None
    state = daemon.state()
    check_state(state, backend="living")
    session = state["session"]
    assert (session["people"], session["seat"], session["aiming_s"]) == (1, None, None)
    assert session["elapsed_s"] > 0 and (session["pause_s"], session["recording"]) == (None, False)
    assert "inference" in noted()


def test_the_operator_reconfirms_the_people_in_view(living: Noting) -> None:
    daemon, _ = living
    assert daemon.post("/api/session/again", {}).status == 409
    assert daemon.start_session(people=1).status == 200
    faces_until(daemon, lambda each: any(face["analysed"] for face in each), "a face is analysed")
    assert daemon.post("/api/session/again", {}).json() == {"state": "live"}
    faces_until(daemon, lambda each: sum(face["analysed"] for face in each) == 1, "one is read, as agreed")
    last = audit(daemon)[-2 if audit(daemon)[-1]["event"] == "viewer" else -1]
    assert (last["event"], last["people"], last["again"]) == ("agreement", 1, 1)


def test_a_baseline_is_taken_while_live_and_ends_with_the_session(living: Noting) -> None:
    daemon, _ = living
    assert daemon.post("/api/session/baseline", {}).status == 409
    assert daemon.start_session(people=2).status == 200
    faces_until(daemon, lambda each: [face["baseline"] for face in each] == [None, None], "no baseline yet")
    assert daemon.post("/api/session/baseline", {}).json() == {"state": "live"}
    faces_until(daemon, lambda each: {face["baseline"] for face in each} == {"taking"}, "it is being taken")
    faces = faces_until(daemon, lambda each: {face["baseline"] for face in each} == {"taken"}, "it was taken")
    assert all(face["strength"] is not None for face in faces)


def test_two_people_consent(living: Noting) -> None:
    daemon, _ = living
    assert daemon.start_session(people=2).status == 200
    faces_until(daemon, lambda each: [face["analysed"] for face in each] == [True, True], "both")


def test_the_zone_selects_the_analysed_person(living: Noting) -> None:
    daemon, _ = living

    def analysed_side(faces: list[Any]) -> str | None:
        read = [face for face in faces if face["analysed"]]
        return ("left" if read[0]["box"][0] < 640 else "right") if len(read) == 1 else None

    assert daemon.start_session(seat=[0.5, 0, 0.5, 1]).status == 200
    faces_until(daemon, lambda each: analysed_side(each) == "right", "who sits on the right")
    assert daemon.post("/api/session/seat", {"zone": [0, 0, 0.5, 1]}).status == 200
    faces_until(daemon, lambda each: analysed_side(each) == "left", "who sits on the left")
    assert daemon.state()["session"]["seat"] == [0, 0, 0.5, 1]


@pytest.mark.parametrize(
    "seat", [[0, 0, 1], [0, 0, 0, 0], [0.99, 0, 0.6, 1], [-0.1, 0, 1, 1], ["a", 0, 1, 1], "all", {}]
)
def test_an_invalid_zone_is_refused(living: Noting, seat: object) -> None:
    daemon, _ = living
    for path, more in (("start", {"notice_version": "1"}), ("seat", {})):
        answer = daemon.post(f"/api/session/{path}", {**more, "seat": seat})
        assert answer.status == 400 and "seat" in answer.json()["error"]
    assert daemon.state()["state"] == "idle"


def test_other_people_can_join_only_with_a_new_start(living: Noting) -> None:
    daemon, _ = living
    assert daemon.start_session(people=1).status == 200
    answer = daemon.start_session(people=2)
    assert answer.status == 409 and "end the session" in answer.json()["error"]


# --- record, marker, withdraw ---


def test_a_session_is_recorded_marked_and_withdrawn(living: Noting) -> None:
    daemon, _ = living
    assert daemon.post("/api/session/record", {}).status == 409
    started = daemon.start_session().json()
    assert daemon.post("/api/session/marker", {"text": "early"}).status == 409
    assert daemon.post("/api/session/record", {"label": "a", "note": "b"}).json() == {"state": "recording"}
    assert daemon.post("/api/session/record", {}).status == 409
    assert daemon.post("/api/session/marker", {"text": "question 2"}).status == 200
    again = daemon.request("/api/session/link").json()
    assert again == {"link": started["link"], "qr": started["qr"]}
    assert daemon.post("/api/session/withdraw").json() == {"state": "idle"}
    assert daemon.request(path_of(started["link"])).status == 404
    assert daemon.post("/api/session/withdraw").status == 409
    assert daemon.request("/api/session/link").status == 409
    entries = audit(daemon)
    assert [entry["event"] for entry in entries] == ["agreement", "start", "record", "withdraw"]
    assert entries[0]["version"] == NOTICE and len(entries[0]["notice"]) == 64


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("record", {"label": "x" * 81}),
        ("record", {"colour": "red"}),
        ("record", []),
        ("marker", {"text": ""}),
        ("marker", {"text": "x" * 81}),
        ("marker", {}),
    ],
)
def test_an_invalid_body_is_refused(living: Noting, path: str, body: object) -> None:
    daemon, _ = living
    answer = daemon.post(f"/api/session/{path}", body)
    assert answer.status == 400 and "expected JSON like" in answer.json()["error"]


def path_of(link: str) -> str:
    return "/" + link.split("/", 3)[3]


def test_the_persons_link_withdraws_while_live_and_after_the_end(living: Noting) -> None:
    daemon, _ = living
    for end_first in (False, True):
        started = daemon.start_session().json()
        link = path_of(started["link"])
        assert started["link"].startswith(f"http://127.0.0.1:{daemon.port}/mine/")
        assert started["qr"].startswith("data:image/svg+xml")
        daemon.post("/api/session/record", {})
        if end_first:
            daemon.stop_session()
        page = daemon.request(link)
        assert page.status == 200 and b"Withdraw and erase" in page.body
        assert page.headers["Cache-Control"] == "no-store"
        own = {"Origin": f"http://127.0.0.1:{daemon.port}"}
        gone = daemon.post(link, headers=own)
        assert gone.status == 200 and b"You have withdrawn" in gone.body
        assert daemon.state()["state"] == "idle"
        for method in ("GET", "POST"):
            assert daemon.request(link, method).status == 404
    assert [entry["who"] for entry in audit(daemon) if entry["event"] == "withdraw"] == ["link", "link"]


def test_a_session_that_was_never_recorded_leaves_nothing_to_link_to(living: Noting) -> None:
    daemon, _ = living
    link = path_of(daemon.start_session().json()["link"])
    assert daemon.request(link).status == 200
    daemon.stop_session()
    assert daemon.request(link).status == 404


def test_other_sites_cannot_withdraw_and_guessing_is_slow(living: Noting) -> None:
    daemon, _ = living
    link = path_of(daemon.start_session().json()["link"])
    for origin in ("http://evil.example", "null"):
        assert daemon.post(link, headers={"Origin": origin}).status == 403
    assert daemon.state()["state"] == "live"
    statuses = []
    for number in range(FREE_TRIES + 1):
        statuses.append(daemon.request(f"/mine/{number:022}").status)
        if number < FREE_TRIES - 1:
            assert daemon.request(link).status == 200, "your own link gives no free guesses"
    assert statuses == [404] * FREE_TRIES + [429]
    assert daemon.state()["state"] == "live"


# --- the law ---


def test_without_a_jurisdiction_live_is_off(tmp_path: Path) -> None:
    started = {"module": DOUBLES, "lawful": None}
    with running(tmp_path, *noting(tmp_path), **started) as daemon:
        for path, body in (("start", agreement(NOTICE)), ("aim", {})):
            answer = daemon.post(f"/api/session/{path}", body)
            assert answer.status == 409 and "lawful.region" in answer.json()["error"]
        assert b"Where is this device" in daemon.request("/").body
        answer = daemon.post("/api/lawful", {"region": "EU", "purpose": "hiring"})
        assert answer.status == 200 and "Article 5(1)(f)" in answer.json()["refusal"]
        refused = daemon.start_session()
        assert refused.status == 409 and "Article 5(1)(f)" in refused.json()["error"]
        assert b"Article 5(1)(f) of the AI Act" in daemon.request("/").body
        answer = daemon.post("/api/lawful", {"region": "US", "purpose": "hiring"})
        assert answer.json() == {"refusal": "", "notice": {"version": f"{NOTICE}-us2-hiring"}}
        assert daemon.post("/api/session/start", agreement(NOTICE)).status == 409, (
            "another notice is in force"
        )
        assert b"820 ILCS 42" in daemon.request("/").body
        assert daemon.start_session().status == 200
        assert daemon.post("/api/lawful", {"region": "EU", "purpose": "practice"}).status == 409, "live"
        entries = audit(daemon)
        assert [entry["event"] for entry in entries] == ["settings", "settings", "agreement", "start"]
        assert [entry["institution"] for entry in entries[:2]] == ["", ""]
    with running(tmp_path, *noting(tmp_path), **started) as daemon:
        assert daemon.state()["notice"] == {"version": f"{NOTICE}-us2-hiring"}


def test_a_device_in_the_eu_asks_for_the_institution(tmp_path: Path) -> None:
    """It was set up before that was required: `page.toml` has only region and purpose."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state/page.toml").write_text('[lawful]\nregion = "EU"\npurpose = "practice"\n')
    with running(tmp_path, *noting(tmp_path), module=DOUBLES, lawful=None) as daemon:
        refused = daemon.start_session()
        assert refused.status == 409 and "lawful.institution" in refused.json()["error"]
        page = daemon.request("/").body
        assert b"Where is this device" in page and b"a university or its career centre" in page
        wanted = {"region": "EU", "purpose": "practice"}
        for institution in ("school", "employer"):
            answer = daemon.post("/api/lawful", {**wanted, "institution": institution})
            assert answer.status == 200 and "Article 5(1)(f)" in answer.json()["refusal"]
            assert b"Analysis stays off" in daemon.request("/").body
            assert daemon.start_session().status == 409
        answer = daemon.post("/api/lawful", {**wanted, "institution": "none"})
        assert answer.json() == {"refusal": "", "notice": {"version": f"{NOTICE}-eu3-practice"}}
        assert b"Article 50(3)" in daemon.request("/").body
        assert daemon.start_session().status == 200
        institutions = [entry["institution"] for entry in audit(daemon) if entry["event"] == "settings"]
        assert institutions == ["school", "employer", "none"]


def test_the_page_names_the_missing_settings_next_to_a_set_region(tmp_path: Path) -> None:
    with running(tmp_path, *noting(tmp_path), module=DOUBLES, lawful=("EU", "practice")) as daemon:
        page = " ".join(daemon.request("/").text.split())
        assert 'id="lawful"' not in page, "the page may not set it"
        assert "whether an employer or a school uses this device is not set" in page
        assert "lawful.institution = unset. Set what is missing there" in page


@pytest.mark.parametrize(
    "body",
    [
        *[{}, {"region": "EU"}, {"region": "eu", "purpose": "practice"}, {"region": "", "purpose": ""}, []],
        {"region": "EU", "purpose": "practice", "institution": "club"},
    ],
)
def test_an_invalid_region_or_purpose_is_refused(demo: Daemon, body: object) -> None:
    assert demo.post("/api/lawful", body).status == 400


def test_the_page_cannot_change_what_the_configuration_sets(living: Noting) -> None:
    daemon, _ = living
    answer = daemon.post("/api/lawful", {"region": "EU", "purpose": "practice"})
    assert answer.status == 409 and "command line" in answer.json()["error"]


def test_a_clip_needs_no_jurisdiction(tmp_path: Path) -> None:
    with running(tmp_path, "--camera", "demo", lawful=None) as daemon:
        assert daemon.state()["state"] == "live"
        faces_until(daemon, lambda each: [face["analysed"] for face in each] == [True, True], "both")


# --- the button ---


def test_a_button_with_an_old_printed_notice_is_logged_and_released(tmp_path: Path) -> None:
    pins = ("session.button_pin=5", "session.button_factory=mock", 'session.printed_notice="0"')
    more = [part for text in pins for part in ("--set", text)]
    with running(tmp_path, *noting(tmp_path), *more, module=DOUBLES) as daemon:
        assert daemon.log_lines("WARNING", "button", "'0'", repr(NOTICE))
        assert daemon.state()["state"] == "idle"


def test_an_unavailable_button_is_one_line_of_error(tmp_path: Path) -> None:
    more = ("--set", "session.button_pin=5", "--set", "session.button_factory=lgpio")
    refused = Daemon(tmp_path, "--camera", "demo", *more, environment={})
    try:
        assert refused.wait(20) == 2
        (line,) = refused.log_lines("interview-grader:")
        assert "session.button_pin = 5" in line
    finally:
        refused.kill()


# --- the notice ---


def test_an_owners_notice_is_shown_and_an_invalid_one_refused(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('version = "7"\ntitle = "Ours"\n[[paragraph]]\nheading = "So"\ntext = "Our <words>."\n')
    more = ("--set", f"session.notice={own}")
    with running(tmp_path / "a", "--camera", "demo", *more) as daemon:
        version = daemon.state()["notice"]["version"]
        page = daemon.request("/notice").body.decode()
        assert version.startswith("7-") and version in page and "Our &lt;words&gt;." in page
    own.write_text("version = 7\n")
    refused = Daemon(tmp_path / "b", "--camera", "demo", *more, environment={})
    try:
        assert refused.wait(20) == 2
        (line,) = refused.log_lines("interview-grader:")
        assert str(own) in line and "version" in line
    finally:
        refused.kill()


def test_caches_do_not_keep_the_page_of_a_personal_link(living: Noting) -> None:
    daemon, _ = living
    link = path_of(daemon.start_session().json()["link"])
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=10)
    try:
        connection.request("HEAD", link)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    finally:
        connection.close()
