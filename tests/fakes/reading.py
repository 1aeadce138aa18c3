"""What a process of `read_in_order` runs in tests: each item is a tuple of a word and its arguments."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, TypeAlias

from appliance.composition.reader import Reader
from appliance.errors import EngineError

Item: TypeAlias = tuple[Any, ...]


def read(reader: Reader, item: Item) -> Iterator[Any]:
    """("say", WORD): yields WORD; ("wait", FIFO, WORD): once another item opens FIFO; and so on."""
    match item:
        case ("say", *words):
            yield from words
        case ("wait", fifo, word):
            with open(fifo, "rb") as file:
                file.read()
            yield word
        case ("release", fifo, *words):
            yield from words
            os.close(os.open(fifo, os.O_WRONLY))
        case ("fail", word):
            yield word
            raise EngineError("the engine failed")
        case ("die", number):
            os.kill(os.getpid(), number)
        case ("exit", code):
            os._exit(code)
        case ("process",):
            yield os.getpid()


def name(item: Item) -> str:
    return str(item[0])
