"""`POST /api/analyze` from outside: a picture in, its reading out, and one sentence for everything else."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from appliance.audit import AuditLog
from appliance.system.resources import demo_clip
from tests.e2e.daemon.driver import Answer, Daemon, called, running
from tests.fakes.parts import in_threads

QUERY = "/api/analyze?consent=yes"


def still() -> Pillow.Image:
    """A frame of the demo clip, with two faces."""
    film = cv2.VideoCapture(str(demo_clip()))
    film.set(cv2.CAP_PROP_POS_FRAMES, 30)
    image = np.asarray(film.read()[1], np.uint8)
    film.release()
    return Pillow.fromarray(image[..., ::-1])


def saved(image: Pillow.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


STILL = still()
JPEG = saved(STILL, "JPEG", quality=90)


def form(*files: bytes, field: str = "picture", more: bytes = b"") -> dict[str, Any]:
    """Headers and body of a form with these files."""
    head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="a.jpg"\r\n\r\n'.encode()
    body = b"".join(head + data + b"\r\n" for data in files) + more + b"--x--\r\n"
    return {"headers": {"Content-Type": "multipart/form-data; boundary=x"}, "body": body}


def send(daemon: Daemon, data: bytes, kind: str = "image/jpeg", path: str = QUERY) -> Answer:
    return daemon.request(path, "POST", body=data, headers={"Content-Type": kind})


def problem(answer: Answer, status: int) -> str:
    """The one sentence of a refusal."""
    assert answer.status == status, answer.body
    assert answer.headers.get_content_type() == "application/json"
    (words,) = answer.json().values()
    return str(words)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_the_reading_is_that_of_analyze(demo: Daemon, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "still"
    path.write_bytes(saved(STILL.resize((640, 360)), kind, quality=90))
    expected = json.loads(called("analyze", "--jsonl", path).stdout)
    found = send(demo, path.read_bytes(), f"image/{kind.lower()}").json()
    assert len(found["faces"]) == 2 and found.pop("notes") == []
    assert {**found, "source": str(path)} == expected
    assert (found["source"], found["frame"], found["time_s"]) == ("picture", 0, 0.0)
    assert [face["id"] for face in found["faces"]] == [1, 2]


def test_crops_are_scored_as_by_analyze_crops(demo: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "crop.png"
    path.write_bytes(saved(STILL.crop((223, 219, 478, 474)), "PNG"))
    expected = json.loads(called("analyze", "--crops", "--jsonl", path).stdout)
    found = send(demo, path.read_bytes(), "image/png", f"{QUERY}&crops=1").json()
    assert found.pop("notes") == [] and {**found, "source": str(path)} == expected
    assert found["faces"][0]["box"] == [0.0, 0.0, 255.0, 255.0]


def test_a_form_with_one_file_is_the_same(demo: Daemon) -> None:
    expected = send(demo, JPEG).json()
    for field in ("picture", "anything"):
        assert demo.request(QUERY, "POST", **form(JPEG, field=field)).json() == expected
    other = b'--x\r\nContent-Disposition: form-data; name="comment"\r\n\r\nnothing\r\n'
    assert demo.request(QUERY, "POST", **form(JPEG, more=other)).json() == expected


def test_a_picture_is_recognised_by_its_content(demo: Daemon) -> None:
    assert send(demo, JPEG, "image/png").json() == send(demo, JPEG).json()


def test_without_consent_nothing_is_read(demo: Daemon) -> None:
    for path in (
        "/api/analyze",
        "/api/analyze?consent=no",
        "/api/analyze?consent=",
        "/api/analyze?consent=YES",
    ):
        assert "add ?consent=yes to declare" in problem(send(demo, JPEG, path=path), 422)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "application/x-www-form-urlencoded",
            "Content-Type application/x-www-form-urlencoded; expected image/jpeg,",
        ),
        ("application/octet-stream", "expected image/jpeg,"),
        ("image/gif", "Content-Type image/gif; expected"),
        ("video/mp4", "Content-Type video/mp4; expected"),
        ("nonsense", "expected image/jpeg,"),
    ],
)
def test_another_content_type_is_415(demo: Daemon, kind: str, words: str) -> None:
    assert words in problem(send(demo, JPEG, kind), 415)


def test_no_content_type_is_415(demo: Daemon) -> None:
    assert "Content-Type missing" in problem(demo.request(QUERY, "POST", body=JPEG), 415)


def test_a_compressed_body_is_415(demo: Daemon) -> None:
    headers = {"Content-Type": "image/jpeg", "Content-Encoding": "gzip"}
    assert "Content-Encoding gzip" in problem(demo.request(QUERY, "POST", body=JPEG, headers=headers), 415)


def test_another_format_under_a_right_content_type_is_415(demo: Daemon) -> None:
    animated = saved(STILL.resize((64, 36)), "GIF", save_all=True, append_images=[STILL.resize((64, 36))])
    for data in (animated, saved(STILL.resize((64, 36)), "TIFF"), saved(STILL.resize((64, 36)), "BMP")):
        assert "expected JPEG, PNG, WebP, HEIC or AVIF" in problem(send(demo, data), 415)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"hello", "is not a picture"),
        (JPEG[: len(JPEG) // 2], "is truncated; expected a complete picture"),
        (
            saved(Pillow.new("L", (2000, 1100)), "JPEG"),
            "has 2000x1100 pixels; expected at most 2.07 megapixels",
        ),
    ],
    ids=["empty", "text", "truncated", "too many pixels"],
)
def test_what_cannot_be_read_is_422(demo: Daemon, data: bytes, words: str) -> None:
    assert words in problem(send(demo, data), 422)
    assert words in problem(demo.request(QUERY, "POST", **form(data)), 422)


def test_a_form_without_exactly_one_file_is_422(demo: Daemon) -> None:
    assert "the form has 0 files; expected one" in problem(demo.request(QUERY, "POST", **form()), 422)
    assert "the form has 2 files; expected one" in problem(
        demo.request(QUERY, "POST", **form(JPEG, JPEG)), 422
    )
    bare = {"headers": {"Content-Type": "multipart/form-data"}, "body": JPEG}
    assert "the form has 0 files" in problem(demo.request(QUERY, "POST", **bare), 422)


def test_at_most_a_megabyte_is_taken_and_the_refusal_names_the_limit(demo: Daemon) -> None:
    limit, padded = 1_000_000, JPEG + bytes(1_000_000 - len(JPEG))
    assert send(demo, padded).status == 200
    for answer in (
        send(demo, padded + b"x"),
        demo.request(QUERY, "POST", **form(padded + b"x")),
        send(demo, bytes(5 * limit)),
    ):
        assert "expected a picture of at most 1000000 bytes (1 MB)" in problem(answer, 413)


def test_a_damaged_picture_is_read_with_a_note(demo: Daemon) -> None:
    middle = len(JPEG) // 2
    (note,) = send(demo, JPEG[:middle] + b"\xff\xd5" + JPEG[middle:]).json()["notes"]
    assert note.startswith("was read, but its decoder reported: ")


def test_other_queries_are_refused(demo: Daemon) -> None:
    assert "crops" in problem(send(demo, JPEG, path=f"{QUERY}&crops=2"), 400)


def test_many_pictures_at_once_are_read_or_told_to_come_back(demo: Daemon) -> None:
    answers: list[Answer] = []

    def post() -> None:
        answers.append(send(demo, JPEG))

    before = demo.state()["reading"]["frame"]
    in_threads(*[post] * 12)
    assert len(answers) == 12 and {answer.status for answer in answers} <= {200, 429}
    assert sum(answer.status == 200 for answer in answers) >= 4
    for answer in answers:
        assert answer.status == 200 or (answer.headers["Retry-After"] == "1" and problem(answer, 429))
    assert demo.state()["reading"]["frame"] > before, "the room is read meanwhile"
    assert send(demo, JPEG).status == 200


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon whose files can be looked at."""
    folder: Path = tmp_path_factory.mktemp("device")
    temporary = folder / "tmp"
    temporary.mkdir()
    with running(folder, "--camera", "demo", environment={"TMPDIR": str(temporary)}) as daemon:
        yield daemon


def test_nothing_is_stored_and_one_line_without_numbers_is_in_the_audit_log(device: Daemon) -> None:
    for _ in range(3):
        assert send(device, JPEG).status == 200
        assert device.request(QUERY, "POST", **form(saved(STILL.resize((900, 506)), "PNG"))).status == 200
    files = {path.name for path in device.folder.rglob("*") if path.is_file()}
    assert not {name for name in files if name.endswith((".jpg", ".png")) or name.startswith("tmp")}
    content = b"".join(path.read_bytes() for path in device.folder.rglob("*") if path.is_file())
    assert JPEG[:64] not in content and JPEG[1000:1064] not in content
    (line,) = [entry for entry in AuditLog(device.folder / "state").entries() if entry["event"] == "picture"]
    assert {key: line[key] for key in line if key not in ("n", "time", "hash")} == {
        "event": "picture",
        "who": "loopback",
        "consent": "yes",
        "address": "127.0.0.1",
    }


@pytest.mark.parametrize("lawful", [None, ("EU", "hiring")], ids=["not set", "forbidden"])
def test_where_the_law_forbids_analysis_a_picture_is_refused_as_a_session_is(
    tmp_path: Path, lawful: tuple[str, str] | None
) -> None:
    with running(tmp_path, "--camera", "demo", lawful=lawful) as daemon:
        words = problem(send(daemon, JPEG), 409)
        assert ("lawful.region" if lawful is None else "Article 5(1)(f)") in words
        assert not [entry for entry in AuditLog(tmp_path / "state").entries() if entry["event"] == "picture"]
