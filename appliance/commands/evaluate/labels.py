"""The names under which other data sets know the seven expressions. They are understood on input only."""

from __future__ import annotations

from appliance.values import EMOTIONS

ALIASES = {
    "anger": "angry",
    "disgust": "disgusted",
    "fearful": "fear",
    "afraid": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprise": "surprised",
    "neutrality": "neutral",
}
"""Other spellings, each with ours."""


def expression(name: str) -> str | None:
    """Our name of an expression, whatever its spelling and case; None when it is none of the seven."""
    plain = name.strip().lower()
    return plain if plain in EMOTIONS else ALIASES.get(plain)


def accepted() -> str:
    """The accepted names in words, for an error."""
    return f"one of {', '.join(EMOTIONS)} (also understood: {', '.join(ALIASES)})"
