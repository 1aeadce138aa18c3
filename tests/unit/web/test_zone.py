"""The zone in request bodies: by its name and by the older one."""

from __future__ import annotations

import jsonschema
import pytest
from pydantic import ValidationError

from appliance.values import Box
from appliance.web.pages.session import SeatRequest, StartRequest

ZONE = [0.2, 0.1, 0.5, 0.8]


@pytest.mark.parametrize("key", ["zone", "seat"])
def test_both_names_of_the_zone_mean_the_same(key: str) -> None:
    assert SeatRequest.model_validate({key: ZONE}).box == Box(0.2, 0.1, 0.5, 0.8)
    started = StartRequest.model_validate({"notice_version": "1", key: ZONE})
    assert started.box == Box(0.2, 0.1, 0.5, 0.8)


@pytest.mark.parametrize("body", [{}, {"zone": None}, {"seat": None}, {"zone": None, "seat": None}])
def test_without_a_zone_the_entire_picture_counts(body: dict[str, object]) -> None:
    assert SeatRequest.model_validate(body).box is None


@pytest.mark.parametrize("key", ["zone", "seat"])
def test_a_zone_over_the_edge_is_cut_there(key: str) -> None:
    assert SeatRequest.model_validate({key: [0.5, 0.25, 0.6, 1]}).box == Box(0.5, 0.25, 0.5, 0.75)


@pytest.mark.parametrize(
    "zone", [[0.99, 0, 0.5, 1], [-0.1, 0, 1, 1], [0, 0, 0.01, 1], [0, 0, 1.1, 1], [0, 0, 1], ZONE * 2]
)
def test_a_zone_that_the_schema_refuses_is_refused_by_its_name(zone: list[float]) -> None:
    schema = SeatRequest.model_json_schema()
    for key in ("zone", "seat"):
        with pytest.raises(ValidationError, match=rf"{key}\b"):
            SeatRequest.model_validate({key: zone})
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({key: zone}, schema)


def test_both_names_at_once_are_refused() -> None:
    with pytest.raises(ValidationError, match="expected zone or seat, not both"):
        SeatRequest.model_validate({"zone": ZONE, "seat": ZONE})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"zone": ZONE, "seat": ZONE}, SeatRequest.model_json_schema())
    jsonschema.validate({"zone": ZONE, "seat": None}, SeatRequest.model_json_schema())
