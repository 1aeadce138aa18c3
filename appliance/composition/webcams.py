"""Builds the service of the webcam clients."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.composition.engine import EngineOpener, configure_engine
from appliance.composition.reader import OpenModels, make_pipeline, open_models
from appliance.configuration.load import Config
from appliance.configuration.settings import VisionSettings
from appliance.handoff import RightOfWay
from appliance.health import Health
from appliance.inference.ranking import CPU
from appliance.pipeline import Pipeline
from appliance.webcams.service import WebcamService


@dataclass(frozen=True)
class _SharedModels:
    """The models that all clients share, in the thread of the service."""

    opened: OpenModels
    vision: VisionSettings

    def make_pipeline(self) -> Pipeline:
        return make_pipeline(self.vision, self.opened)

    def close(self) -> None:
        self.opened.close()


def make_webcams(config: Config, health: Health, right_of_way: RightOfWay) -> WebcamService:
    """The service, whose models always run on the CPU: an accelerator has one user, the room.

    `right_of_way`: the room's. Measured in docs/decisions/0100-webcam-engines.md.
    """

    def open_shared() -> _SharedModels:
        opener = EngineOpener(configure_engine(config, CPU), quiet=False)
        return _SharedModels(open_models(config, opener), config.vision)

    return WebcamService(open_shared, health, limit=config.web.max_webcams, wait_turn=right_of_way.wait)
