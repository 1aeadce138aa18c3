"""The answers and forms of the HTTP interface: views make their answers of these models, and
/api/openapi.json describes them.

Other bodies of requests are next to their views. Two answers are too frequent or too long to be made of
models; tests check them against `Reading` and `Recorded`: `reading_json` runs for each frame and viewer, and
an exported session is streamed.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """An answer; further keys may be added to it later."""

    model_config = ConfigDict(extra="allow")


class Problem(Answer):
    """Why something was refused, and what to do."""

    error: str


class Emotions(Answer):
    """Calibrated probabilities, which sum to 1."""

    angry: float = Field(ge=0, le=1)
    disgusted: float = Field(ge=0, le=1)
    fear: float = Field(ge=0, le=1)
    happy: float = Field(ge=0, le=1)
    sad: float = Field(ge=0, le=1)
    surprised: float = Field(ge=0, le=1)
    neutral: float = Field(ge=0, le=1)


class Pose(Answer):
    """Where the head is turned, in degrees."""

    yaw: float
    pitch: float
    roll: float


class Movement(Answer):
    """How a person moves; docs/movement.md defines the numbers."""

    head: float
    body: float | None
    nods: int
    shakes: int


class Face(Answer):
    """One face of a reading. Scores are null when it is not readable or not analysed; `reason` says why."""

    id: int
    box: list[float] = Field(min_length=4, max_length=4, description="x, y, width, height in pixels")
    score: float
    analysed: bool
    readable: bool
    reason: str | None
    emotions: Emotions | None = Field(
        description="Smoothed, with a share of the person's baseline subtracted if there is one"
    )
    emotions_raw: Emotions | None = Field(
        description="Of one frame alone: this one, or for a steady face the last one that was classified. "
        "Without the baseline"
    )
    dominant: str | None
    label: str
    pose: Pose | None
    movement: Movement | None
    strength: float | None = Field(
        ge=0, le=1, description="How far the face is from its rest; null without a baseline"
    )
    baseline: Literal["running", "taking", "taken", "pictures"] | None = Field(
        description="How the person's baseline came about: from calm frames, being taken, taken on purpose, "
        "from a person's pictures; null without one"
    )


class Reading(Answer):
    """What was read in one frame."""

    schema_: int = Field(alias="schema")
    source: str
    frame: int
    time_s: float
    width: int
    height: int
    beyond_limit: int = Field(ge=0, description="Faces in view beyond vision.max_people, which are not read")
    faces: list[Face]


class NoticeVersion(Answer):
    """The notice in force."""

    version: str


class Camera(Answer):
    """The camera; `since` in Unix seconds, the rest null before the first frame."""

    backend: str
    state: Literal["open", "closed", "lost"]
    reason: str | None
    since: float
    frame: int | None
    age_s: float | None
    fps: float | None
    width: int | None
    height: int | None


class Storage(Answer):
    """Whether sessions can be recorded, and why not."""

    state: Literal["ok", "full", "failed", "read_only", "set_aside"]
    reason: str | None


class Board(Answer):
    """What slows the board down, null if nothing does."""

    strain: str | None


class SessionDetails(Answer):
    """The session in force.

    `people` who agreed, null if the camera shows no living people; `seat`: x, y, width, height as shares of
    the picture; `aiming_s`: seconds left of the preview, null outside a preview; `elapsed_s`: seconds since
    the session began, null in the preview; `pause_s`: seconds left of a pause, null outside a pause;
    `recording`: whether a recording has begun and not ended, also in a pause.
    """

    people: int | None
    seat: list[float] | None
    aiming_s: float | None
    elapsed_s: float | None
    pause_s: float | None
    recording: bool


class State(Answer):
    """The complete state, with the newest reading."""

    schema_: int = Field(alias="schema")
    state: Literal["idle", "aiming", "live", "recording", "paused"]
    notice: NoticeVersion
    camera: Camera
    engine: dict[str, str] = Field(
        description="Role to model and what runs it; `choice`: why, if it was not configured"
    )
    storage: Storage
    board: Board
    viewers: int
    session: SessionDetails | None
    reading: Reading | None


class SessionState(Answer):
    """The session state after the request."""

    state: Literal["idle", "aiming", "live", "recording", "paused"]


class Discarded(SessionState):
    """The session state, and the id of the recording that was erased."""

    erased: str


class Health(Answer):
    """Whether the device works; nothing personal."""

    status: str
    reason: str | None


class SnapshotQuery(BaseModel):
    """Which picture: with boxes and labels, or `overlay=0`; and how wide."""

    overlay: Literal["0", "1"] = "1"
    width: int | None = Field(
        None, ge=1, le=10_000, description="Pixels; the picture has the next larger of a few widths"
    )


class StreamQuery(SnapshotQuery):
    """Which pictures: with boxes and labels, or `overlay=0`; how wide, and how many."""

    fps: float | None = Field(None, gt=0, le=1000, description="At most this many pictures a second")


class PicturesQuery(BaseModel):
    """The most that a viewer wants; on a slow link there are fewer pictures, and narrower ones."""

    width: int | None = Field(
        None, ge=1, le=10_000, description="Pixels; the pictures have at most the next larger of a few widths"
    )
    fps: float | None = Field(None, gt=0, le=1000, description="At most this many pictures a second")


class PictureHead(Answer):
    """What comes before the JPEG in a message: of which frame it is, and the reading to show with it."""

    frame: int
    captured_s: float = Field(description="Seconds of the device's monotonic clock, see `now_s`")
    live: bool = Field(description="False for a picture in words, while the camera delivers none")
    reading: Reading | None = Field(
        description="Of this frame or one up to 100 ms earlier; boxes in pixels of its width and height"
    )


class ConsentQuery(BaseModel):
    """What the sender of pictures declares."""

    consent: str = Field(
        "", max_length=32, description="`yes`: everyone in the pictures agreed that they are analysed"
    )
    notice: str = Field(
        "", max_length=64, description="Version of the notice that they read; 409 unless it is in force"
    )


class PictureForm(BaseModel):
    """A form with one file; the name of its field does not matter."""

    picture: bytes


class PictureReading(Reading):
    """What was read in a single picture. `notes`: messages about the file, such as its decoder's warning."""

    notes: list[str]


class PictureProblem(Answer):
    """Why a picture of a webcam client was not read; `frame` is its number."""

    schema_: int = Field(alias="schema")
    frame: int
    error: str


class ClockAnswer(Answer):
    """The answer to a message with `clock_ms`: the same number, and the device's monotonic clock."""

    clock_ms: float
    now_s: float


class ViewerMessage(BaseModel):
    """What a viewer of `/ws/pictures` sends."""

    model_config = ConfigDict(allow_inf_nan=False)

    shown: int | None = Field(None, description="The frame that is shown now: acknowledges its picture")
    clock_ms: float | None = Field(None, description="Any number; asks for the device's clock")
    round_trip_ms: float | None = Field(
        None, ge=0, description="The shortest time that an answer to `clock_ms` took"
    )


class LoginForm(BaseModel):
    """Name and password; or the first code, with the new password twice."""

    name: str | None = None
    password: str
    code: str | None = None
    repeat: str | None = None
    next: str | None = None


class NextQuery(BaseModel):
    """The path to redirect to after the login."""

    next: str | None = None


class Link(Answer):
    """The personal link of the session, and its QR code as the address of an image."""

    link: str
    qr: str


class OneTimeLink(Link):
    """A link for one browser, and its QR code as the address of an image; unused it ends after `seconds`."""

    seconds: int


class CameraMessage(Answer):
    """What the device says to the browser that is its camera; one of the keys.

    `wait`: send nothing, and why. `taken`: how many pictures were taken since sending began; 0: begin.
    """

    wait: str | None = None
    taken: int | None = None


class CameraClientMessage(BaseModel):
    """What that browser says, besides its pictures, one JPEG in each binary message.

    `waiting`: the answer to `wait`, after the last picture. `leaving`: why it
    sends no more; the device then closes the connection.
    """

    waiting: Literal[True] | None = None
    leaving: Literal["hidden", "stopped", "camera"] | None = None


class CameraQuery(BaseModel):
    """`take_over=1`: replace another browser, as long as no one has agreed to its picture."""

    take_over: Literal["0", "1"] = "0"


class Started(SessionState):
    """The session state, and the personal link if the camera shows living people."""

    link: str | None = None
    qr: str | None = None


class Aiming(SessionState):
    """The session state, and how long the preview stays open, in seconds."""

    seconds: int


class Settled(Answer):
    """Why analysis stays off, empty if it may begin, and the notice in force."""

    refusal: str
    notice: NoticeVersion


class RecordedNotice(Answer):
    """The notice to which people agreed."""

    version: str
    hash: str


class RecordedSession(Answer):
    """A recorded session in a list. Times in UTC, null while it is being recorded."""

    id: str
    label: str
    note: str
    started: str
    recorded: str | None
    ended: str | None
    ending: str
    clock_set: bool
    seconds: int
    people: int
    persons: int
    source: str
    notice: RecordedNotice
    deleted_about: str | None
    delete_copies_by: str | None


class Sessions(Answer):
    """The recorded sessions, the newest first."""

    sessions: list[RecordedSession]


class Marker(Answer):
    """The operator's words, and their time in seconds after recording began."""

    at: float
    text: str


class RecordedSecond(Answer):
    """One person in one second: means over its frames; `not_readable` counts frames by reason."""

    second: int
    emotions: Emotions | None
    frames: int
    scored: int
    skipped: int
    not_readable: dict[str, int]
    box: list[float] = Field(min_length=4, max_length=4)
    pose: dict[str, float | None]
    movement: dict[str, float | None]


class RecordedPerson(Answer):
    """One person over the entire session, and every second in which the person was seen."""

    person: int
    seconds: int
    frames: int
    scored: int
    skipped: int
    unreadable: dict[str, int]
    means: Emotions | None
    nods: int
    shakes: int
    timeline: list[RecordedSecond]


class Recorded(Answer):
    """One recorded session, with every second."""

    schema_: int = Field(alias="schema")
    about: str
    sampling: str
    deletion: str
    session: RecordedSession
    markers: list[Marker]
    persons: list[RecordedPerson]


class Erased(Answer):
    """The id of the erased session."""

    erased: str
