"""The ranking of engines: measures each available engine, and compares its results with the CPU's.

Each runs in its own process, so that a hang or crash affects nothing else.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from appliance import registry
from appliance.composition.engine import (
    EngineOpener,
    configure_engine,
    engine_inventory,
    load_models,
    why_measure,
)
from appliance.composition.reader import make_reader
from appliance.configuration.load import Config
from appliance.errors import ApplianceError, ConfigError
from appliance.hardware import board
from appliance.inference.manifest import ModelSet
from appliance.inference.parity import FaceNumbers, face_numbers, measure_parity
from appliance.inference.ranking import CANDIDATES, Candidate, EngineMeasurement, Ranking
from appliance.media.video import Video
from appliance.ports import Engine
from appliance.system.native import as_owner, self_command
from appliance.system.resources import demo_clip

_WARM_UP, _RUNS = 5, 40
_EVERY = 15
_LIMIT_S = 300.0
_BUILD_LIMIT_S = 3600.0


def rank(config: Config, arguments: Sequence[str]) -> Ranking:
    """Measure every engine; `arguments` are passed to the measuring processes."""
    _, models = load_models(config)
    found = [_measure(each, arguments) for each in _candidates(models)]
    reference = found[0][1]
    if isinstance(reference, str):
        raise ApplianceError(f"cannot measure the CPU engine: {reference}; see: interview-grader check")
    # Again at the end: if something else used the machine meanwhile, the reference must not lose by chance.
    if not isinstance(again := _measure(CANDIDATES[0], arguments)[1], str):
        reference["ms"] = min(reference["ms"], again["ms"], key=lambda ms: sum(ms.values()))
    measured = tuple(_judged(each, result, reference) for each, result in found)
    return Ranking(
        machine=board.board_name(),
        date=time.strftime("%Y-%m-%d"),
        models=models.digest,
        engines=measured,
        there=engine_inventory(config),
        processor=board.processor_key(),
    )


def rank_and_save(config: Config, arguments: Sequence[str]) -> Ranking:
    """Like `rank`, and save the ranking: `auto` uses it from then on."""
    ranking = rank(config, arguments)
    with as_owner(config.state_dir):
        ranking.save(config.state_dir)
    return ranking


def rank_if_due(config: Config, arguments: Sequence[str]) -> str:
    """Like `rank_and_save`, if a measurement is due; returns its summary, "" if none was due."""
    return rank_and_save(config, arguments).summary() if why_measure(config) else ""


def measure_one(config: Config, name: str) -> dict[str, Any]:
    """The result of a candidate's process: milliseconds by role, and the faces in the demo clip."""
    candidate = next((each for each in CANDIDATES if each.name == name), None)
    if candidate is None:
        known = ", ".join(each.name for each in CANDIDATES)
        raise ConfigError(f"unknown engine; known: {known}", key="--one", value=name)
    choice = configure_engine(
        config, candidate.backend, candidate.settings, float_models=candidate.float_models
    )
    reader = make_reader(config, opener=EngineOpener(choice, fallback=False))
    faces = [face_numbers(reader.pipeline.read_still(image)) for image in _pictures()]
    spent = {role: _milliseconds(engine) for role, engine in reader.engines.items()}
    described = reader.described()
    reader.pipeline.close()
    return {"ms": spent, "faces": faces, "described": described}


def engines_table(ranking: Ranking) -> Iterator[str]:
    """The ranking as Markdown."""
    yield "| engine | one run of each model, ms | agrees with the CPU | |"
    yield "|---|---|---|---|"
    for each in ranking.engines:
        ms = "not measured" if each.ms is None else f"{each.ms:.2f}"
        agrees = "" if each.ms is None else "yes" if each.agrees else "no"
        name = f"**{each.name}**" if each is ranking.best else each.name
        yield f"| {name} | {ms} | {agrees} | {each.note} |"


def _candidates(models: ModelSet) -> Iterator[Candidate]:
    for each in CANDIDATES:
        if models.detector.original or not each.float_models:
            yield each


def _measure(candidate: Candidate, arguments: Sequence[str]) -> tuple[Candidate, dict[str, Any] | str]:
    command = self_command("appliance", "bench", "--one", candidate.name, *arguments)
    needs_build = registry.load("engine", candidate.backend).needs_build
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_BUILD_LIMIT_S if needs_build else _LIMIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        return candidate, f"hung: no result within {error.timeout:g} s"
    if done.returncode == 0:
        return candidate, dict(json.loads(done.stdout))
    lines = done.stderr.strip().splitlines()
    how = f"killed by signal {-done.returncode}" if done.returncode < 0 else f"exited with {done.returncode}"
    return candidate, lines[-1].removeprefix("interview-grader: ") if lines else how


def _judged(
    candidate: Candidate, result: dict[str, Any] | str, reference: dict[str, Any]
) -> EngineMeasurement:
    if isinstance(result, str):
        return EngineMeasurement(candidate.name, None, False, result)
    wanted: list[list[FaceNumbers]] = reference["faces"]
    parity = measure_parity(wanted, result["faces"])
    note = str(result["described"]["detector"]) + ("" if result is reference else f"; {parity}")
    return EngineMeasurement(candidate.name, round(sum(result["ms"].values()), 3), parity.holds, note)


def _milliseconds(engine: Engine) -> float:
    tensor = np.zeros(engine.inputs[0].shape, engine.inputs[0].dtype)
    times = []
    for number in range(_WARM_UP + _RUNS):
        began = time.perf_counter()
        engine.run(tensor)
        if number >= _WARM_UP:
            times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def _pictures() -> Iterator[Any]:
    video = Video(demo_clip())
    try:
        for number, frame in enumerate(video):
            if number % _EVERY == 0:
                yield frame.image
    finally:
        video.close()
