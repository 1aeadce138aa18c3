"""Labelled faces: FER2013 with the votes of FER+, photographs, and posed laboratory faces.

The order of classes is always the product's: angry, disgusted, fear, happy, sad, surprised, neutral.
Grey faces are uint8 (count, 48, 48).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

SIDE = 48
TRAINING, PUBLIC_TEST = 0, 1
VOTE_COLUMNS = (4, 5, 6, 1, 3, 2, 0)
"""Index of our classes in the FER+ votes: neutral, happiness, surprise, sadness, anger, ..."""
CONTEMPT, UNKNOWN, NOT_A_FACE = 7, 8, 9

SHARPNESS = 1.5
"""Vote shares are raised to this power: the first class matters, and the shares are noisy."""

MOST_NOT_A_FACE = 5
"""A picture is left out if more than this many of the ten voters saw no face in it."""


@dataclass(frozen=True)
class Votes:
    """Training faces with vote shares, and validation faces with the majority's class."""

    images: np.ndarray
    shares: np.ndarray
    chosen: np.ndarray
    """Rows to train on."""
    valid: np.ndarray
    """Rows of PublicTest with a majority, without near-duplicates of training pictures: two thirds to
    choose by (`selection`), one third used for no choice (`kept`)."""
    majority: np.ndarray
    kept_out: np.ndarray

    @property
    def selection(self) -> np.ndarray:
        """Rows by which recipes, mixtures and calibration are chosen."""
        return self.valid[~self.kept_out]

    @property
    def kept(self) -> np.ndarray:
        """Rows that were used for no choice."""
        return self.valid[self.kept_out]


def load_votes(data: Path) -> Votes:
    """FER2013 with FER+ votes from `emotion/fer_train_publictest.npz` of a data folder."""
    table = np.load(data / "emotion" / "fer_train_publictest.npz")
    votes, usage, majority = (
        table["ferplus_votes"].astype(np.float32),
        table["usage"],
        table["ferplus_majority"],
    )
    shares = votes[:, VOTE_COLUMNS]
    shares = np.where(shares <= 1, 0, shares)  # single votes are noise, as the authors of FER+ found
    total = shares.sum(1)
    usable = (total > 0) & (votes[:, NOT_A_FACE] <= MOST_NOT_A_FACE)
    usable &= total >= votes[:, CONTEMPT] + votes[:, UNKNOWN]
    again = table["near_dup_in_training"].astype(bool) | table["dup_in_training"].astype(bool)
    valid = np.flatnonzero((usage == PUBLIC_TEST) & (majority >= 0) & (majority < CONTEMPT) & ~again)
    shares = (shares / np.maximum(total, 1)[:, None]) ** SHARPNESS
    shares /= np.maximum(shares.sum(1), 1e-6)[:, None]
    return Votes(
        table["images"],
        shares.astype(np.float32),
        np.flatnonzero((usage == TRAINING) & usable),
        valid,
        majority,
        third(len(valid), seed=5),
    )


def load_photographs(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photographs of other people, only for evaluation: faces, labels, and which third is held out."""
    table = np.load(data / "emotion" / "photographs_dev_112.npz")
    faces = [cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for face in table["images"]]
    return np.stack(faces), table["label"], third(len(faces), seed=6)


@dataclass(frozen=True)
class NamedFaces:
    """Grey faces (count, 48, 48) with labels, and a number for each person, from 0 (count,)."""

    images: np.ndarray
    labels: np.ndarray
    people: np.ndarray


def load_people(data: Path) -> NamedFaces:
    """The photographs, with a number for each person: the set's file names say whose picture it is."""
    paths = np.load(data / "emotion" / "photographs_dev_112.npz")["path"]
    faces, labels, _ = load_photographs(data)
    whose = [re.sub(r"_\d+\.\w+$", "", str(path)) for path in paths]
    return NamedFaces(faces, labels, np.unique(whose, return_inverse=True)[1])


def load_posed(data: Path) -> NamedFaces:
    """Posed laboratory faces, from `emotion/posed_dev_48.npz`; none of them is neutral."""
    table = np.load(data / "emotion" / "posed_dev_48.npz")
    people = np.unique(table["subject"], return_inverse=True)[1]
    return NamedFaces(table["images"], table["label"], people)


def third(count: int, seed: int) -> np.ndarray:
    """A mask over `count` rows that is true for a random third."""
    mask = np.zeros(count, bool)
    mask[np.random.default_rng(seed).permutation(count)[count * 2 // 3 :]] = True
    return mask


def accuracy_and_f1(truth: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Accuracy, and the mean F1 of the classes that occur, from class numbers (count,)."""
    scores = []
    for number in np.unique(truth):
        hits = np.sum((truth == number) & (predicted == number))
        scores.append(2 * hits / max(1, np.sum(truth == number) + np.sum(predicted == number)))
    return float(np.mean(truth == predicted)), float(np.mean(scores))
