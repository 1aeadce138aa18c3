"""Stands in for cuda-python's runtime: memory of no GPU, and streams. Each call returns an error first.

Work put onto a stream is done when the stream is synchronised, not before.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from enum import IntEnum

import numpy as np

memory: dict[int, np.ndarray] = {}
streams: dict[int, list[Callable[[], None]]] = {}
"""What is still to be done on each."""
faults: set[str] = set()
_handles = itertools.count(1)


class cudaError_t(IntEnum):
    cudaSuccess, cudaErrorMemoryAllocation, cudaErrorIllegalAddress = 0, 2, 700


class cudaMemcpyKind(IntEnum):
    cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost = 1, 2


def use_stream(stream: int, work: Callable[[], None]) -> None:
    streams[stream].append(work)


def cudaStreamCreate() -> tuple[cudaError_t, int]:
    stream = next(_handles)
    streams[stream] = []
    return cudaError_t.cudaSuccess, stream


def cudaStreamDestroy(stream: int) -> tuple[cudaError_t]:
    del streams[stream]
    return (cudaError_t.cudaSuccess,)


def cudaStreamSynchronize(stream: int) -> tuple[cudaError_t]:
    bad = "synchronise" in faults
    todo = streams[stream]
    while todo and not bad:
        todo.pop(0)()
    return (cudaError_t.cudaErrorIllegalAddress if bad else cudaError_t.cudaSuccess,)


def cudaMalloc(size: int) -> tuple[cudaError_t, int]:
    if "malloc" in faults:
        return cudaError_t.cudaErrorMemoryAllocation, 0
    address = next(_handles) << 20
    memory[address] = np.full(size, 0xA5, np.uint8)  # uninitialised
    return cudaError_t.cudaSuccess, address


def cudaFree(address: int) -> tuple[cudaError_t]:
    del memory[address]
    return (cudaError_t.cudaSuccess,)


def cudaMemcpyAsync(to: int, source: int, size: int, kind: cudaMemcpyKind, stream: int) -> tuple[cudaError_t]:
    def copy() -> None:
        if kind is cudaMemcpyKind.cudaMemcpyHostToDevice:
            ctypes.memmove(memory[to].ctypes.data, source, size)
        else:
            ctypes.memmove(to, memory[source].ctypes.data, size)

    use_stream(stream, copy)
    return (cudaError_t.cudaSuccess,)
