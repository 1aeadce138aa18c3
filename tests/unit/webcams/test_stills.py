"""Single pictures: one at a time, in turn, with engines that are open while they are needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import simplejpeg

from appliance.errors import ApplianceError, Busy, EngineError, PictureError, TooManyAttempts
from appliance.health import Health
from appliance.pipeline import Pipeline
from appliance.values import Frame, Image, Reading, Stamps
from appliance.webcams import service
from appliance.webcams.service import WebcamService
from appliance.webcams.stills import PLACES, StillReader, StillReading
from tests.e2e.daemon.driver import until
from tests.fakes.parts import in_threads, picture

WITHIN_S = 15.0
JPEG = bytes(simplejpeg.encode_jpeg(picture(64, 48, 90), 90, "BGR"))


class HeldPipeline(Pipeline):
    """Stands in for the models: finds nothing, and can be held."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def read_still(self, image: Image) -> Reading:
        bench = self._bench
        bench.read_by.append(threading.current_thread().name)
        bench.began.set()
        assert bench.go_on.wait(WITHIN_S)
        if bench.fault:
            raise bench.fault
        return Reading(Frame(0, 0.0, image), (), Stamps(0.0, 0.0, 0.0))


class Bench:
    """A service, and what its models did."""

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.read_by: list[str] = []
        self.began, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.fault: Exception | None = None
        self.service = WebcamService(self._open, Health("usb"), limit=2)
        self.reader = StillReader(self.service)

    def _open(self) -> Bench:
        self.opened += 1
        return self

    def make_pipeline(self) -> Pipeline:
        assert self.opened == self.closed + 1
        return HeldPipeline(self)

    def close(self) -> None:
        self.closed += 1


@contextmanager
def stepping(of: WebcamService) -> Iterator[None]:
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            of.step()
        of.close()

    thread = threading.Thread(target=work, name="webcams")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(WITHIN_S)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    with stepping(made.service):
        yield made


def test_models_are_opened_for_the_first_picture_and_serve_the_next(bench: Bench) -> None:
    assert bench.opened == 0
    for _ in range(3):
        found = bench.reader.read(JPEG)
        assert found.reading.frame.image.shape == (48, 64, 3) and found.notes == ()
    assert (bench.opened, bench.closed) == (1, 0)
    assert bench.read_by == ["webcams"] * 3, "in the thread to which the models belong"


def test_models_are_closed_after_a_while_and_opened_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "KEEP_S", -1.0)
    bench.reader.read(JPEG)
    until(lambda: bench.closed == 1, WITHIN_S, "the models are closed")
    monkeypatch.undo()
    bench.reader.read(JPEG)
    assert (bench.opened, bench.closed) == (2, 1)


def test_few_pictures_wait_and_the_next_are_refused(bench: Bench) -> None:
    bench.go_on.clear()
    done: list[StillReading] = []
    refused: list[TooManyAttempts] = []

    def send() -> None:
        try:
            done.append(bench.reader.read(JPEG))
        except TooManyAttempts as error:
            refused.append(error)
            if len(refused) == 3:
                assert bench.began.wait(WITHIN_S)
                assert len(bench.read_by) == 1, "one at a time"
                bench.go_on.set()

    in_threads(*[send] * (PLACES + 3))
    assert len(done) == PLACES
    assert {(str(error), error.wait_s) for error in refused} == {
        ("too many pictures are waiting; try again", 1.0)
    }
    assert bench.reader.read(JPEG), "every place is free again"


def test_a_picture_that_cannot_be_read_opens_no_models_and_frees_its_place(bench: Bench) -> None:
    for _ in range(2 * PLACES):
        with pytest.raises(PictureError):
            bench.reader.read(b"nothing")
    assert bench.opened == 0
    assert bench.reader.read(JPEG)


@pytest.mark.parametrize("fault", [EngineError("the runtime failed"), RuntimeError("a bug")])
def test_a_fault_of_the_models_is_logged_and_the_sender_may_try_again(
    bench: Bench, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bench.fault = fault
    with pytest.raises(Busy, match="see the device's log"):
        bench.reader.read(JPEG)
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert str(fault) in record.getMessage()
    assert bool(record.exc_info) is not isinstance(fault, ApplianceError)
    bench.fault = None
    assert bench.reader.read(JPEG)


def test_a_picture_that_waits_when_the_device_stops_is_refused() -> None:
    bench = Bench()
    waiting = bench.service.submit(lambda pipeline: pytest.fail("read"))
    bench.service.close()
    with pytest.raises(Busy):
        waiting.result(WITHIN_S)
    with pytest.raises(Busy):
        bench.service.submit(lambda pipeline: pytest.fail("read")).result(WITHIN_S)


def test_pictures_of_clients_and_single_pictures_take_turns() -> None:
    bench = Bench()
    order: list[str] = []
    webcam = bench.service.join()
    webcam.answer = lambda number, result: order.append("webcam")

    def read(pipeline: Pipeline) -> Reading:
        order.append("single")
        return pipeline.read_still(picture(64, 48))

    for _ in range(2):
        bench.service.offer(webcam, b"not a picture: its answer is a refusal")
        for _ in range(2):
            bench.service.submit(read)
        bench.service.step()
    assert order == ["webcam", "single"] * 2, "a client never waits for more than one single picture"
    bench.service.close()
