"""Stands in for cuda-python's runtime: memory of no GPU, and streams. Each call gives an error first."""

from __future__ import annotations

import ctypes
import itertools
from enum import IntEnum

import numpy as np

memory: dict[int, np.ndarray] = {}
streams: set[int] = set()
faults: set[str] = set()
_handles = itertools.count(1)


class cudaError_t(IntEnum):
    cudaSuccess, cudaErrorMemoryAllocation, cudaErrorIllegalAddress = 0, 2, 700


class cudaMemcpyKind(IntEnum):
    cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost = 1, 2


def use_stream(stream: int) -> None:
    assert stream in streams


def cudaStreamCreate() -> tuple[cudaError_t, int]:
    stream = next(_handles)
    streams.add(stream)
    return cudaError_t.cudaSuccess, stream


def cudaStreamDestroy(stream: int) -> tuple[cudaError_t]:
    streams.remove(stream)
    return (cudaError_t.cudaSuccess,)


def cudaStreamSynchronize(stream: int) -> tuple[cudaError_t]:
    use_stream(stream)
    bad = "synchronise" in faults
    return (cudaError_t.cudaErrorIllegalAddress if bad else cudaError_t.cudaSuccess,)


def cudaMalloc(size: int) -> tuple[cudaError_t, int]:
    if "malloc" in faults:
        return cudaError_t.cudaErrorMemoryAllocation, 0
    address = next(_handles) << 20
    memory[address] = np.zeros(size, np.uint8)
    return cudaError_t.cudaSuccess, address


def cudaFree(address: int) -> tuple[cudaError_t]:
    del memory[address]
    return (cudaError_t.cudaSuccess,)


def cudaMemcpyAsync(to: int, source: int, size: int, kind: cudaMemcpyKind, stream: int) -> tuple[cudaError_t]:
    use_stream(stream)
    if kind is cudaMemcpyKind.cudaMemcpyHostToDevice:
        ctypes.memmove(memory[to].ctypes.data, source, size)
    else:
        ctypes.memmove(to, memory[source].ctypes.data, size)
    return (cudaError_t.cudaSuccess,)
