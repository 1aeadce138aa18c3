"""Webcam clients: their limit, whose picture is next, and what is left when they leave."""

from __future__ import annotations

import gc
import weakref

import pytest

from appliance.errors import Busy
from appliance.health import Health
from appliance.pipeline import Pipeline
from appliance.values import Frame, Reading, Stamps
from appliance.webcams.service import Webcam, WebcamService
from tests.fakes.files import encoded
from tests.fakes.parts import picture

JPEG = encoded(picture(64, 48, 90), ".jpg")


class EmptyPipeline(Pipeline):
    """Stands in for the models: finds nothing."""

    def __init__(self) -> None:
        pass

    def read(self, frame: Frame, skipped: int = 0) -> Reading:
        return Reading(frame, (), Stamps(0.0, 0.0, 0.0))


class CountedModels:
    """How often the models were opened and closed, and the pipelines that are still in memory."""

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.pipelines: weakref.WeakSet[Pipeline] = weakref.WeakSet()

    def open(self) -> CountedModels:
        self.opened += 1
        return self

    def make_pipeline(self) -> Pipeline:
        made = EmptyPipeline()
        self.pipelines.add(made)
        return made

    def close(self) -> None:
        self.closed += 1


def joined(service: WebcamService, answers: list[tuple[Webcam, int]]) -> Webcam:
    webcam = service.join()
    webcam.answer = lambda number, result: answers.append((webcam, number))  # a cycle, as in the web
    return webcam


def test_the_models_are_closed_and_nothing_is_kept_when_the_last_client_has_left() -> None:
    models, answers = CountedModels(), list[tuple[Webcam, int]]()
    service = WebcamService(models.open, Health("usb"), limit=2)
    service.step()
    assert not models.opened, "nothing is opened before the first picture"
    gc.disable()  # memory must not wait for the collector, which seldom comes
    try:
        for visit in (1, 2):
            clients = [joined(service, answers) for _ in range(2)]
            for client in clients:
                service.offer(client, JPEG)
                service.step()
            assert (models.opened, len(models.pipelines)) == (visit, 2)
            service.leave(clients[0])
            service.step()
            assert (models.closed, len(models.pipelines)) == (visit - 1, 1)
            service.leave(clients[1])
            service.step()
            assert (models.closed, len(models.pipelines)) == (visit, 0)
    finally:
        gc.enable()


def test_clients_take_turns_and_a_newer_picture_keeps_the_turn() -> None:
    models, answers = CountedModels(), list[tuple[Webcam, int]]()
    service = WebcamService(models.open, Health("usb"), limit=2)
    one, other = joined(service, answers), joined(service, answers)
    assert service.offer(one, JPEG) is None
    assert service.offer(other, JPEG) is None
    assert service.offer(one, JPEG) == 0, "the number of the picture that is not read any more"
    service.step()
    service.offer(one, JPEG)
    for _ in range(2):
        service.step()
    assert answers == [(one, 1), (other, 0), (one, 2)]
    service.close()


def test_a_client_that_has_left_gets_no_answer_and_frees_its_place() -> None:
    models, answers = CountedModels(), list[tuple[Webcam, int]]()
    service = WebcamService(models.open, Health("usb"), limit=1)
    client = joined(service, answers)
    with pytest.raises(Busy, match=r"limit of webcams \(1\)"):
        service.join()
    service.offer(client, JPEG)
    service.leave(client)
    assert service.offer(client, JPEG) is None
    service.step()
    assert not answers and not models.opened
    service.join()
