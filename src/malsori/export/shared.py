"""Graphs without weights of their own: they point into the model.safetensors beside them, which serves both runtimes.

    float32    ───────────────────────────────────────► weight
    float16    ─► Cast ───────────────────────────────► weight
    int8 rows  ─► Cast ─► x scale ────────────────────► weight of a convolution, an embedding, a precise product
    int8 rows  ─► Transpose ─► MatMulInteger ─► x scales ─► product with activations, quantized as they come

What depends on weights alone the runtime works out once, when it opens the graph. A product of int8 rows computes with
the very rows that are stored, and PyTorch's int8 layers with the same ones (`runtime.quantize`).
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from malsori.pretrained.exported import read_header

_SCALE = ".row_scale"  # as `pretrained.storage` calls what multiplies rows
_INNER = "network."  # what the traced modules call the network in them


@dataclass(frozen=True)
class _Stored:
    """A tensor in a file: its kind as safetensors calls it, its sizes, where its bytes begin, how many they are."""

    kind: str
    sizes: tuple[int, ...]
    offset: int
    length: int


def stored_tensors(path: Path) -> dict[str, _Stored]:
    """Return where each tensor of a safetensors file lies. Raises: ModelError if it is none."""
    header, first = read_header(path)
    places = {name: one for name, one in json.loads(header).items() if name != "__metadata__"}
    return {
        name: _Stored(one["dtype"], tuple(one["shape"]), first + one["data_offsets"][0], _length(one))
        for name, one in places.items()
    }


def stored_as(path: Path) -> Literal["float32", "float16", "int8"]:
    """Return in which numbers a safetensors file holds weights: the smallest. Raises: ModelError if it is none."""
    kinds = {one.kind for one in stored_tensors(path).values()}
    return "int8" if "I8" in kinds else "float16" if "F16" in kinds else "float32"


def _length(entry: dict[str, Any]) -> int:
    begin, end = entry["data_offsets"]
    return int(end - begin)


def without_weights(content: bytes, weights: Path, precise: tuple[str, ...] = ()) -> bytes:
    """Return an ONNX file whose weights are those of a safetensors file that will lie beside it.

    Args:
        content: a graph that was traced without folding, so that its weights have the network's names.
        precise: outputs of products that are not computed in int8.
    Raises: ModelError if the file is no safetensors file.
    """
    import onnx

    model = onnx.load_from_string(content)
    _Rewriter(model.graph, stored_tensors(weights), weights.name, precise).rewrite()
    return bytes(model.SerializeToString())


class _Rewriter:
    """Lets a graph's weights be read from a file."""

    def __init__(self, graph: Any, stored: dict[str, _Stored], location: str, precise: tuple[str, ...]) -> None:
        self.graph, self.stored, self.location, self.precise = graph, stored, location, precise
        self.weights: list[Any] = []
        self.made: list[Any] = []  # nodes that make weights
        self.rows: dict[str, str] = {}  # transposed weight → the weight whose int8 rows it is of
        self.users: dict[str, list[Any]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.users[name].append(node)

    def rewrite(self) -> None:
        """Replace the graph's weights, and its products with int8 rows."""
        for weight in self.graph.initializer:
            stored = self.stored.get(weight.name.removeprefix(_INNER))
            if stored is None or stored.kind not in _kinds():
                self.weights.append(weight)  # a constant, or what PyTorch works out of several weights
            else:
                self._refer(weight.name, stored)
        nodes = [*self.made, *self._products()]
        for node in nodes:
            node.ClearField("doc_string")
        for field, values in (("initializer", self.weights), ("node", nodes), ("value_info", [])):
            self.graph.ClearField(field)
            getattr(self.graph, field).extend(values)

    def _refer(self, name: str, stored: _Stored) -> None:
        if stored.kind == "F32":
            self._add(name, stored)
        elif stored.kind == "F16":
            self._add(f"{name}.half", stored)
            self._make("Cast", [f"{name}.half"], name, to=_kinds()["F32"])
        else:
            self._refer_rows(name, stored, self.stored[name.removeprefix(_INNER) + _SCALE])

    def _refer_rows(self, name: str, stored: _Stored, scale: _Stored) -> None:
        self._add(f"{name}.rows", stored)
        quantized = [node for node in self.users[name] if self._is_int8(node)]
        if quantized:
            self._add(f"{name}.row_scale", scale)
        for node in quantized:
            node.input[0] = f"{name}.rows"
            self.rows[node.output[0]] = name
        if len(quantized) < len(self.users[name]):
            self._add(f"{name}.scale", scale, (*scale.sizes, *[1] * (len(stored.sizes) - 1)))
            self._make("Cast", [f"{name}.rows"], f"{name}.wide", to=_kinds()["F32"])
            self._make("Mul", [f"{name}.wide", f"{name}.scale"], name)

    def _is_int8(self, node: Any) -> bool:
        """Return whether a node only turns a weight for products that may be of int8."""
        after = self.users[node.output[0]]
        products = all(one.op_type == "MatMul" and one.output[0] not in self.precise for one in after)
        return node.op_type == "Transpose" and products

    def _products(self) -> list[Any]:
        """Return the graph's nodes, products with int8 rows as such; what several multiply is quantized once."""
        from onnx import helper

        nodes: list[Any] = []
        quantized: set[str] = set()
        for node in self.graph.node:
            if node.op_type != "MatMul" or node.input[1] not in self.rows:
                nodes.append(node)
                continue
            hidden, turned = node.input
            out, scale = node.output[0], f"{self.rows[turned]}.row_scale"
            if hidden not in quantized:
                quantized.add(hidden)
                of_hidden = [f"{hidden}.int8", f"{hidden}.scale", f"{hidden}.zero"]
                nodes.append(helper.make_node("DynamicQuantizeLinear", [hidden], of_hidden))
            nodes += [
                helper.make_node("MatMulInteger", [f"{hidden}.int8", turned, f"{hidden}.zero"], [f"{out}.int32"]),
                helper.make_node("Cast", [f"{out}.int32"], [f"{out}.sums"], to=_kinds()["F32"]),
                helper.make_node("Mul", [f"{hidden}.scale", scale], [f"{out}.scale"]),
                helper.make_node("Mul", [f"{out}.sums", f"{out}.scale"], [out]),
            ]
        return nodes

    def _make(self, operator: str, inputs: list[str], output: str, **settings: Any) -> None:
        from onnx import helper

        self.made.append(helper.make_node(operator, inputs, [output], **settings))

    def _add(self, name: str, stored: _Stored, sizes: tuple[int, ...] | None = None) -> None:
        from onnx import TensorProto

        tensor = TensorProto(
            name=name, data_type=_kinds()[stored.kind], dims=sizes or stored.sizes, data_location=TensorProto.EXTERNAL
        )
        for key, value in (("location", self.location), ("offset", stored.offset), ("length", stored.length)):
            tensor.external_data.add(key=key, value=str(value))
        self.weights.append(tensor)


def _kinds() -> dict[str, int]:
    """Return what ONNX calls the kinds of numbers that weights are stored in."""
    from onnx import TensorProto

    return {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16, "I8": TensorProto.INT8}
