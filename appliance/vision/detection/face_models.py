"""The models that look at one face at a time, and how threads share the faces of a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.expression.classifier import ExpressionClassifier

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class FaceModels:
    """A verifier and a classifier, for one thread."""

    verifier: BlazeFace
    classifier: ExpressionClassifier

    def close(self) -> None:
        """Release both engines."""
        self.verifier.close()
        self.classifier.close()


class FaceWorkers(Protocol):
    """Threads that read the faces of a frame, each with its own models. Called from one thread only."""

    def prepare(self, people: int) -> None:
        """Get ready for this many people, without waiting; 0 releases what only several people need."""

    def map(self, work: Callable[[FaceModels, Item], Result], items: Sequence[Item]) -> list[Result]:
        """The result of `work` for each item, in their order. Raises what `work` raises."""

    def close(self) -> None:
        """Release everything but the models that were passed in. May be called twice."""
