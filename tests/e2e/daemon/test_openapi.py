"""Description and device agree: real answers are as described, and no described request breaks the device."""

from __future__ import annotations

import io
import json
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from PIL import Image as Pillow

from appliance.composition.webcams import make_webcams
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import load_config
from appliance.handoff import RightOfWay
from appliance.health import Health
from appliance.web.api.openapi import make_document
from appliance.web.app import create_app
from appliance.webcams.service import WebcamService
from appliance.webcams.stills import StillReader
from appliance.webcams.uploads import MEDIA_TYPES
from tests.e2e.daemon.driver import Daemon
from tests.fakes.far import served_far
from tests.fakes.web import make_context

EXAMPLES = int(os.environ.get("EXAMPLES", "12"))
"""For each operation; `make explore` draws 200."""


def validate(described: Any, path: str, method: str, status: int, content_type: str, body: Any) -> None:
    """Fails unless the description has this answer."""
    found = described["paths"][path][method]["responses"]
    assert str(status) in found, f"{method} {path} answers {status}, which is not described"
    content = found[str(status)].get("content", {})
    assert not content or content_type in content, f"{method} {path} {status}: {content_type}"
    if content_type == "application/json" and content:
        schema = {**content[content_type]["schema"], "components": described["components"]}
        jsonschema.Draft202012Validator(schema).validate(body)


@pytest.mark.parametrize(
    "path", ["/api/state", "/healthz", "/api/openapi.json", "/", "/about", "/metrics", "/access"]
)
def test_real_answers_are_as_described(demo: Daemon, path: str) -> None:
    described = demo.request("/api/openapi.json").json()
    answer = demo.request(path)
    kind = answer.headers.get_content_type()
    validate(
        described, path, "get", answer.status, kind, answer.json() if kind == "application/json" else None
    )


def test_a_reading_is_as_described(demo: Daemon) -> None:
    described = demo.request("/api/openapi.json").json()
    with demo.live() as client:
        reading = client.recv(15)
    message = described["paths"]["/ws/live"]["get"]["x-message"]
    schema = {**message, "components": described["components"]}
    jsonschema.Draft202012Validator(schema).validate(json.loads(reading))


@pytest.mark.parametrize(
    ("path", "content"),
    [("/api/session/start", {"notice_version": "old"}), ("/api/session/start", {"people": 0})],
)
def test_refusals_are_as_described(demo: Daemon, path: str, content: object) -> None:
    described = demo.request("/api/openapi.json").json()
    answer = demo.post(path, content)
    assert answer.status in (400, 409)
    validate(described, path, "post", answer.status, answer.headers.get_content_type(), answer.json())


def make_service() -> WebcamService:
    """The service of the product, with its models."""
    options = ConfigOptions(camera="demo", data_dir=Path(tempfile.mkdtemp()))
    return make_webcams(load_config(options, {}), Health("demo"), RightOfWay())


def pictures() -> list[bytes]:
    made = []
    for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
        out = io.BytesIO()
        Pillow.new("RGB", (64, 48), "grey").save(out, kind)
        made.append(out.getvalue())
    return made


for kind in MEDIA_TYPES:
    schemathesis.openapi.media_type(kind, strategies.sampled_from(pictures()))
WEBCAMS = make_service()
CONTEXT = replace(make_context(login=True), webcams=WEBCAMS, stills=StillReader(WEBCAMS))
APP = create_app(CONTEXT)
DESCRIBED = schemathesis.openapi.from_dict(make_document(APP))
OPERATIONS = [found.ok() for found in DESCRIBED.get_all_operations()]
CHECKS = [
    schemathesis.checks.CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    )
]
ACCEPTANCE = schemathesis.checks.CHECKS.get_one("positive_data_acceptance")
"""A body as described is accepted: not answered with 400, 415 or 422."""
NOT_ALL_ACCEPTED = {"POST /login"}
"""A first code needs the same password twice, and no schema can compare two fields."""


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """Address, trusted certificate and operator's token of a device on the network, which reads pictures."""
    folder: Path = tmp_path_factory.mktemp("device")
    token = CONTEXT.auth.tokens.create("fuzz", "operator")
    over = threading.Event()

    def read_pictures() -> None:
        while not over.is_set():
            WEBCAMS.step()
        WEBCAMS.close()

    reader = threading.Thread(target=read_pictures, name="webcams")
    reader.start()
    with served_far(APP, folder) as server:
        yield f"https://127.0.0.1:{server.port}", str(folder / "tls-certificate.pem"), token
    over.set()
    reader.join()


@pytest.mark.hypothesis
@pytest.mark.timeout(120 + 2 * EXAMPLES)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_schemathesis_finds_no_failure(
    device: tuple[str, str, str], operation: Any, caplog: pytest.LogCaptureFixture
) -> None:
    address, certificate, token = device
    cases = operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)
    is_judged = operation.body and operation.label not in NOT_ALL_ACCEPTED
    checks = [*CHECKS, ACCEPTANCE] if is_judged else CHECKS
    if operation.body or operation.query:
        cases |= operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def check(case: Any) -> None:
        with requests.Session() as session:
            session.trust_env = False  # no proxy is used
            answer = case.call(
                base_url=address,
                session=session,
                verify=certificate,
                headers={"Authorization": f"Bearer {token}", "Connection": "close"},
                allow_redirects=False,
            )
        case.validate_response(answer, checks=checks)

    check()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
