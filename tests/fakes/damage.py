"""Records to damage, and random damage: single bytes, holes, truncation; a third of it in the schema."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from appliance.records import Store
from tests.fakes.records import Time, make_store, second, session_info

IDS = tuple(f"{number:012x}" for number in range(0xA0, 0xA8))
"""The sessions of `recorded`."""

SECONDS, PERSONS = 150, 2
ROWS = len(IDS) * SECONDS * PERSONS
"""Rows of seconds in `recorded`."""

FIRST_PAGE = 4096


def recorded(folder: Path, time: Time | None = None) -> Path:
    """A state folder with some sessions, closed cleanly; returns the file."""
    time = time or Time()
    store = make_store(folder, time)
    chance = random.Random(3)
    for id in IDS:
        store.begin(session_info(id, label=f"label of {id}", note="a note " * 20, link_hash=id * 5))
        rows = [
            second(number, person, angry=chance.random(), x=chance.uniform(0, 1280), yaw=chance.gauss(0, 9))
            for number in range(SECONDS)
            for person in range(1, PERSONS + 1)
        ]
        store.add(id, rows)
        time.passes(SECONDS)
        store.mark(id, "question 2")
        store.end(id)
    store.close()
    return store.path


def copied(sound: Path, folder: Path) -> Path:
    """Copy the state folder of a file; returns the copied file."""
    shutil.copytree(sound.parent, folder)
    return folder / sound.name


def damage(path: Path, chance: random.Random, *, most_cut: float = 1.0) -> str:
    """Damage a file, cutting off at most this share; returns a description."""
    content = bytearray(path.read_bytes())
    end = FIRST_PAGE if chance.random() < 1 / 3 else len(content)
    kind = chance.choice(("bytes", "hole", "cut"))
    if kind == "bytes":
        places = [chance.randrange(end) for _ in range(chance.choice((1, 2, 8, 40)))]
        for place in places:
            content[place] = chance.randrange(256)
        words = f"bytes at {places}"
    elif kind == "hole":
        start, length = chance.randrange(end), chance.choice((16, 512, 4096, 20_000))
        length = min(length, len(content) - start)
        filling = chance.choice((b"\0" * length, b"\xff" * length, chance.randbytes(length)))
        content[start : start + length] = filling
        words = f"{length} bytes from {start}"
    else:
        del content[round(len(content) * (1 - most_cut * chance.random())) :]
        words = f"cut to {len(content)} bytes"
    path.write_bytes(content)
    return words


def remains(store: Store) -> dict[str, int]:
    """The number of rows of each session."""
    found = {}
    for kept in store.sessions():
        session = store.session(kept.id)
        found[kept.id] = len(session.seconds) if session else 0
    return found
