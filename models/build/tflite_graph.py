"""Rewrites .tflite files: prepares a float model for a quantiser, without a training framework.

A model here is the object form of the flatbuffer (`ModelT`), with one subgraph. Every step keeps the results
of the model bit for bit; `prepare` runs all of them in order. The output of `write` depends only on the
model.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

OPERATOR = schema.BuiltinOperator
ACTIVATION = schema.ActivationFunctionType
SIGNATURE = "serving_default"

FUSED = {OPERATOR.RELU: ACTIVATION.RELU, OPERATOR.RELU6: ACTIVATION.RELU6}
"""Operators that can be fused into the previous one, and the resulting activation."""

FUSING = {OPERATOR.ADD, OPERATOR.CONV_2D, OPERATOR.DEPTHWISE_CONV_2D, OPERATOR.FULLY_CONNECTED}

NUMPY = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT8: np.int8,
}


class GraphError(Exception):
    """A model that these rewrites do not support."""


class _Builder(flatbuffers.Builder):
    """Aligns the constants to 16 bytes, as the schema requires; the generated code does not."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:
        return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)


def read(content: bytes) -> Any:
    """The model in a file's bytes, with operator codes where newer tools expect them and constants inside."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    if len(model.subgraphs) != 1:
        raise GraphError(f"{len(model.subgraphs)} subgraphs: expected 1")
    _fill_codes(model)
    _take_in(model, content)
    return model


def write(model: Any) -> bytes:
    """A model as the bytes of a file."""
    builder = _Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def prepare(content: bytes) -> bytes:
    """A float model prepared for the quantiser; its results are bit for bit those of the original."""
    model = read(content)
    fold_half_constants(model)
    fuse_activations(model)
    prune(model)
    sign(model)
    return write(model)


def graph(model: Any) -> Any:
    """The only subgraph."""
    return model.subgraphs[0]


def code(model: Any, operator: Any) -> int:
    """Which builtin operator this is."""
    return int(model.operatorCodes[operator.opcodeIndex].builtinCode)


def operator_names(model: Any) -> set[str]:
    """The names of all operators used, as the schema spells them."""
    names = {value: name for name, value in vars(OPERATOR).items() if isinstance(value, int)}
    return {names[code(model, operator)] for operator in graph(model).operators}


def tensor_name(model: Any, index: int) -> str:
    """The name of a tensor."""
    return str(graph(model).tensors[index].name.decode())


def constant(model: Any, index: int) -> np.ndarray | None:
    """The value of a constant tensor in its shape; None if it is computed."""
    tensor = graph(model).tensors[index]
    data = model.buffers[tensor.buffer].data
    if data is None or len(data) == 0:
        return None
    return np.frombuffer(bytes(bytearray(data)), NUMPY[tensor.type]).reshape(tensor.shape)


def set_constant(model: Any, index: int, value: np.ndarray) -> None:
    """Give a tensor a constant value of the tensor's type, in a separate buffer."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(value.tobytes(), np.uint8)
    model.buffers.append(buffer)
    graph(model).tensors[index].buffer = len(model.buffers) - 1


def consumers(model: Any) -> Counter[int]:
    """How often each tensor is read; being an output of the model counts."""
    found: Counter[int] = Counter(int(index) for index in graph(model).outputs)
    for operator in graph(model).operators:
        found.update(int(index) for index in operator.inputs)
    return found


def producers(model: Any) -> dict[int, Any]:
    """The operator that computes each tensor."""
    return {int(index): op for op in graph(model).operators for index in op.outputs}


def fold_half_constants(model: Any) -> None:
    """Replace float16 constants with a DEQUANTIZE by float32 constants: exact, as every half is a float."""
    kept = []
    for operator in graph(model).operators:
        value = constant(model, operator.inputs[0]) if code(model, operator) == OPERATOR.DEQUANTIZE else None
        if value is None or value.dtype != np.float16:
            kept.append(operator)
            continue
        set_constant(model, operator.outputs[0], value.astype(np.float32))
    graph(model).operators = kept


def fuse_activations(model: Any) -> None:
    """Fuse a RELU into the operator before it, if the RELU is the only reader of its result.

    In a quantised model the tensor between the two would use half of its 256 values for numbers below zero.
    """
    read_by, made_by, kept = consumers(model), producers(model), []
    for operator in graph(model).operators:
        before = made_by.get(int(operator.inputs[0])) if code(model, operator) in FUSED else None
        if before is None or not _can_fuse(model, before) or read_by[int(operator.inputs[0])] != 1:
            kept.append(operator)
            continue
        before.builtinOptions.fusedActivationFunction = FUSED[code(model, operator)]
        before.outputs = operator.outputs
        made_by[int(operator.outputs[0])] = before
    graph(model).operators = kept


def drop_idle_quantise(model: Any) -> None:
    """Drop each QUANTIZE whose output has the scale and the zero point of its input."""
    part, same = graph(model), {}
    for operator in part.operators:
        if code(model, operator) == OPERATOR.QUANTIZE:
            before, after = (part.tensors[int(ends[0])] for ends in (operator.inputs, operator.outputs))
            if before.type == after.type and _encoding(before) == _encoding(after):
                same[int(operator.outputs[0])] = int(operator.inputs[0])
    part.operators = [op for op in part.operators if int(op.outputs[0]) not in same]
    for operator in part.operators:
        operator.inputs = np.array([same.get(int(i), int(i)) for i in operator.inputs], np.int32)


def prune(model: Any) -> None:
    """Drop tensors, buffers, operator codes and metadata that nothing refers to."""
    _prune_tensors(model)
    _prune_buffers(model)
    used = sorted({int(operator.opcodeIndex) for operator in graph(model).operators})
    model.operatorCodes = [model.operatorCodes[index] for index in used]
    for operator in graph(model).operators:
        operator.opcodeIndex = used.index(int(operator.opcodeIndex))
    model.metadata, model.metadataBuffer = [], None


def sign(model: Any) -> None:
    """Give the model one signature in which inputs and outputs have the names of their tensors."""
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE.encode(), 0
    signature.inputs = [_tensor_map(model, index) for index in graph(model).inputs]
    signature.outputs = [_tensor_map(model, index) for index in graph(model).outputs]
    model.signatureDefs = [signature]


def head(model: Any, output: int) -> list[str]:
    """The names of the tensors from an output back to those that are computed, not only rearranged.

    With one range for all of them, CONCATENATION and RESHAPE only copy.
    """
    made_by, names, waiting = producers(model), [], [int(output)]
    while waiting:
        index = waiting.pop()
        names.append(tensor_name(model, index))
        before = made_by[index]
        if code(model, before) in (OPERATOR.CONCATENATION, OPERATOR.RESHAPE):
            waiting += [int(i) for i in before.inputs if int(i) in made_by]
    return names


def _fill_codes(model: Any) -> None:
    # Files of schema 3 fill only the deprecated field, and 0 in the other one means ADD.
    for entry in model.operatorCodes:
        entry.builtinCode = max(entry.builtinCode, entry.deprecatedBuiltinCode)


def _take_in(model: Any, content: bytes) -> None:
    # ai-edge-quantizer stores larger constants after the flatbuffer and notes only their position.
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0


def _encoding(tensor: Any) -> tuple[list[float], list[int]]:
    return list(tensor.quantization.scale), list(tensor.quantization.zeroPoint)


def _can_fuse(model: Any, operator: Any) -> bool:
    if code(model, operator) not in FUSING:
        return False
    return bool(operator.builtinOptions.fusedActivationFunction == ACTIVATION.NONE)


def _prune_tensors(model: Any) -> None:
    part = graph(model)
    used = {int(index) for index in [*part.inputs, *part.outputs]}
    for operator in part.operators:
        used.update(int(index) for index in [*operator.inputs, *operator.outputs])
    order = sorted(used - {-1})
    place = {old: new for new, old in enumerate(order)} | {-1: -1}  # -1: an input that was left out
    part.tensors = [part.tensors[index] for index in order]
    for holder in [part, *part.operators]:
        holder.inputs = np.array([place[int(index)] for index in holder.inputs], np.int32)
        holder.outputs = np.array([place[int(index)] for index in holder.outputs], np.int32)


def _prune_buffers(model: Any) -> None:
    buffers, place = [schema.BufferT()], {}  # by convention the first one is empty
    for tensor in graph(model).tensors:
        data = model.buffers[tensor.buffer].data
        if data is None or len(data) == 0:
            tensor.buffer = 0
            continue
        if tensor.buffer not in place:
            place[tensor.buffer] = len(buffers)
            buffers.append(model.buffers[tensor.buffer])
        tensor.buffer = place[tensor.buffer]
    model.buffers = buffers


def _tensor_map(model: Any, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = graph(model).tensors[index].name, int(index)
    return entry
