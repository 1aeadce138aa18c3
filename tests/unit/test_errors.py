"""The errors: each derives from the matching built-in, and gives place, value and reason in one line."""

from __future__ import annotations

import inspect

import pytest

from appliance import errors
from appliance.errors import BackendMissing, ConfigError, ConfigErrors

KINDS = {
    "ConfigError": ValueError,
    "BackendMissing": ImportError,
    "CameraError": OSError,
    "CameraLost": OSError,
    "CameraEnded": OSError,
    "ModelError": ValueError,
    "EngineError": RuntimeError,
    "PictureError": ValueError,
    "PictureTooLarge": ValueError,
    "UnsupportedPicture": ValueError,
    "LampError": OSError,
    "PowerError": OSError,
    "StoreError": OSError,
    "StateConflict": RuntimeError,
    "TooManyViewers": RuntimeError,
    "Busy": RuntimeError,
    "AccessError": ValueError,
    "UnknownName": ValueError,
    "AccessConflict": ValueError,
    "WrongPassword": ValueError,
    "TooManyAttempts": RuntimeError,
    "SlotClosed": RuntimeError,
    "WorkerStuck": RuntimeError,
    "WorkerDied": RuntimeError,
}


@pytest.mark.parametrize(("name", "builtin"), KINDS.items())
def test_each_is_ours_and_the_matching_builtin(name: str, builtin: type[Exception]) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, errors.ApplianceError) and issubclass(kind, builtin)
    assert "the reason" in str(kind("the reason"))


def test_the_list_above_is_complete() -> None:
    ours = {name for name, kind in vars(errors).items() if inspect.isclass(kind)}
    assert ours - {"ApplianceError", "ConfigErrors"} == set(KINDS)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConfigError("too large"), "too large"),
        (ConfigError("too large", key="web.port"), "web.port: too large"),
        (ConfigError("too large", key="web.port", value=99999), "web.port = 99999: too large"),
        (
            ConfigError("too large", key="web.port", value=0, file="/etc/a.toml"),
            "/etc/a.toml: web.port = 0: too large",
        ),
        (ConfigError("cannot be read", file="/etc/a.toml"), "/etc/a.toml: cannot be read"),
        (BackendMissing("unknown", key="camera.backend", value="x"), "camera.backend = 'x': unknown"),
    ],
)
def test_place_value_and_reason_are_in_one_line(error: ConfigError, text: str) -> None:
    assert str(error) == text


def test_each_of_several_problems_is_one_line() -> None:
    both = ConfigErrors([ConfigError("a", key="x"), ConfigError("b", file="y")])
    assert str(both).splitlines() == ["x: a", "y: b"]
    assert [problem.reason for problem in both.problems] == ["a", "b"]


def test_a_lost_camera_and_the_end_of_a_clip_are_distinct() -> None:
    assert not issubclass(errors.CameraEnded, errors.CameraLost)
    assert not issubclass(errors.LampError, errors.CameraError)
