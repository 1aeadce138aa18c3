"""Builds the service of the webcam clients."""

from __future__ import annotations

from appliance.composition.engine import EngineOpener, configure_engine
from appliance.composition.reader import make_reader
from appliance.configuration.load import Config
from appliance.health import Health
from appliance.inference.ranking import CPU
from appliance.pipeline import Pipeline
from appliance.webcams.service import WebcamService


def make_webcams(config: Config, health: Health) -> WebcamService:
    """The service; it opens its first engine with its first picture.

    Its engines are always the CPU's: an accelerator has one user, the room (decision 100).
    """

    def open_pipeline() -> Pipeline:
        opener = EngineOpener(configure_engine(config, CPU), quiet=False)
        return make_reader(config, opener=opener).pipeline

    return WebcamService(open_pipeline, config.web.max_webcams, health)
