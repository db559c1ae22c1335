"""Small ONNX graphs written byte by byte, so that tests need neither weights nor the onnx package.

Field numbers are those of onnx.proto3 (ModelProto, GraphProto, NodeProto, TensorProto, ValueInfoProto).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FLOAT, FLOAT16 = 1, 10
Shape = Sequence[int | str]


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(data)) + data


def tensor(name: str, values: NDArray[np.floating | np.integer]) -> bytes:
    kind = {np.dtype(np.float32): 1, np.dtype(np.int64): 7, np.dtype(np.float16): 10}[values.dtype]
    shape = b"".join(number(1, side) for side in values.shape)
    return shape + number(2, kind) + block(8, name) + block(9, np.ascontiguousarray(values).tobytes())


def port(name: str, shape: Shape, kind: int = FLOAT) -> bytes:
    sides = b"".join(block(1, block(2, side) if isinstance(side, str) else number(1, side)) for side in shape)
    return block(1, name) + block(2, block(1, number(1, kind) + block(2, sides)))


def node(kind: str, inputs: Sequence[str], output: str, **numbers: int | Sequence[int]) -> bytes:
    attributes = b""
    for name, value in numbers.items():
        if isinstance(value, int):
            attributes += block(5, block(1, name) + number(3, value) + number(20, 2))
        else:
            attributes += block(5, block(1, name) + b"".join(number(8, v) for v in value) + number(20, 7))
    wires = b"".join(block(1, name) for name in inputs) + block(2, output)
    return wires + block(4, kind) + attributes


def model(
    nodes: Sequence[bytes],
    constants: Sequence[bytes],
    inputs: Sequence[bytes],
    outputs: Sequence[bytes],
    metadata: dict[str, str] | None = None,
) -> bytes:
    graph = b"".join(block(1, each) for each in nodes) + block(2, "graph")
    graph += b"".join(block(5, each) for each in constants)
    graph += b"".join(block(11, each) for each in inputs) + b"".join(block(12, each) for each in outputs)
    notes = b"".join(block(14, block(1, key) + block(2, value)) for key, value in (metadata or {}).items())
    return number(1, 7) + block(7, graph) + block(8, block(1, "") + number(2, 11)) + notes


def write_tables(
    path: Path,
    tables: Sequence[NDArray[np.floating]],
    *,
    input_shape: Shape,
    kind: int = FLOAT,
    metadata: dict[str, str] | None = None,
) -> Path:
    """A graph that answers every picture with fixed tables (rows, columns), each times the picture's mean value.

    So a picture of ones gives the tables themselves, and each picture of a batch is told from the others.
    """
    number_type = np.float16 if kind == FLOAT16 else np.float32
    nodes = [
        node("ReduceMean", ["images"], "mean_1", axes=[3], keepdims=0),
        node("ReduceMean", ["mean_1"], "mean", axes=[1, 2], keepdims=1),
    ]
    constants, outputs = [], []
    for index, table in enumerate(tables):
        constants.append(tensor(f"table{index}", table[None].astype(number_type)))
        nodes.append(node("Mul", [f"table{index}", "mean"], f"output{index}"))
        outputs.append(port(f"output{index}", [input_shape[0], *table.shape], kind))
    path.write_bytes(model(nodes, constants, [port("images", input_shape, kind)], outputs, metadata))
    return path


def write_channel_means(path: Path, width: int = 128, height: int = 256) -> Path:
    """An embedder: (batch, 3, H, W) to the mean of each input channel, (batch, 3)."""
    nodes = [node("ReduceMean", ["input"], "output", axes=[2, 3], keepdims=0)]
    ports = [port("input", ["batch", 3, height, width])], [port("output", ["batch", 3])]
    path.write_bytes(model(nodes, [], *ports))
    return path
