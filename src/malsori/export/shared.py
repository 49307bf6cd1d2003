"""Graphs without weights of their own: they point into the model.safetensors beside them, which serves both runtimes.

    float32    ───────────────────────────────────────► weight
    float16    ─► Cast ───────────────────────────────► weight
    int8 rows  ─► Cast ─► x scale ────────────────────► weight of a convolution, an embedding, a precise product
    int8 rows  ─► Transpose ─► MatMulInteger ─► x scales ─► product with activations, quantized as they come
    int8 rows  ─► Cast ─► Reshape ─► MatMulNBits ─────► the same of a graph that goes token by token

What depends on weights alone the runtime works out once, when it opens the graph. A product of int8 rows computes with
the very rows that are stored, and PyTorch's int8 layers with the same ones (`runtime.quantize`).

Activations have a scale for each row, that is, for each time: a Whisper's feed-forward layers answer a few times with
numbers that are fifty times greater than all others, and one scale for all leaves nothing of the others. Token by token
the weights bind and not the products, so each group of 32 numbers may have a scale (onnxruntime's own operator).
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from malsori.pretrained.exported import read_header

_SCALE = ".row_scale"  # as `pretrained.storage` calls what multiplies rows
_INNER = "network."  # what the traced modules call the network in them
_GROUP = 32  # activations that have one scale, token by token
_OWN = "com.microsoft"  # whose operators onnxruntime has besides the standard ones
_UNSIGNED = 128  # its operator takes 0 to 255, and this for 0
_AXES_AS_INPUT = 18  # since this operator set what is reduced is no longer an attribute
_LEAST = 1e-20  # divides a row of zeros


@dataclass(frozen=True)
class _Stored:
    """A tensor in a file: its kind as safetensors calls it, its sizes, where its bytes begin, how many they are."""

    kind: str
    sizes: tuple[int, ...]
    offset: int
    length: int


@dataclass(frozen=True)
class _Products:
    """How products are computed: which not in int8, whether token by token, in which of ONNX's operator sets."""

    precise: tuple[str, ...]
    stepwise: bool
    opset: int


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


def without_weights(content: bytes, weights: Path, precise: tuple[str, ...] = (), stepwise: bool = False) -> bytes:
    """Return an ONNX file whose weights are those of a safetensors file that will lie beside it.

    Args:
        content: a graph that was traced without folding, so that its weights have the network's names.
        precise: products that are not computed in int8, by their weight or their output.
        stepwise: the graph goes token by token.
    Raises: ModelError if the file is no safetensors file.
    """
    import onnx

    model = onnx.load_from_string(content)
    products = _Products(precise, stepwise, model.opset_import[0].version)
    _Rewriter(model.graph, stored_tensors(weights), weights.name, products).rewrite()
    if stepwise:
        model.opset_import.append(onnx.helper.make_opsetid(_OWN, 1))
    return bytes(model.SerializeToString())


class _Rewriter:
    """Lets a graph's weights be read from a file."""

    def __init__(self, graph: Any, stored: dict[str, _Stored], location: str, products: _Products) -> None:
        self.graph, self.stored, self.location, self.products = graph, stored, location, products
        self.weights: list[Any] = []
        self.made: list[Any] = []  # nodes that make weights
        self.rows: dict[str, str] = {}  # transposed weight → the weight whose int8 rows it is of
        self.nodes: list[Any] = []  # all others
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
        self._multiply()
        nodes = [*self.made, *self.nodes]
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
        after, precise = self.users[node.output[0]], self.products.precise
        products = all(one.op_type == "MatMul" and one.output[0] not in precise for one in after)
        return node.op_type == "Transpose" and products and node.input[0].removeprefix(_INNER) not in precise

    def _multiply(self) -> None:
        """Keep the graph's nodes, products with int8 rows as such; what several multiply is quantized once."""
        quantized: set[str] = set()
        for node in self.graph.node:
            if node.op_type != "MatMul" or node.input[1] not in self.rows:
                self.nodes.append(node)
                continue
            hidden, turned = node.input
            weight, out = self.rows[turned], node.output[0]
            outputs, inputs = self.stored[weight.removeprefix(_INNER)].sizes
            if self.products.stepwise and inputs % _GROUP == 0:
                self._multiply_groups(hidden, weight, out, (outputs, inputs))
                continue
            if hidden not in quantized:
                quantized.add(hidden)
                self._quantize(hidden)
            self._multiply_rows(hidden, turned, f"{weight}.row_scale", out)

    def _quantize(self, hidden: str) -> None:
        """Add what makes int8 of activations: each row divided by its greatest number."""
        axes, axis = [], {"axes": [-1]}
        if self.products.opset >= _AXES_AS_INPUT:
            axes, axis = [self._constant("last_axis", np.array([-1]))], {}
        least = self._constant("least", np.array(_LEAST, dtype=np.float32))
        of_hidden = [f"{hidden}.int8", f"{hidden}.scale", f"{hidden}.zero"]
        self._add_node("Abs", [hidden], [f"{hidden}.size"])
        self._add_node("ReduceMax", [f"{hidden}.size", *axes], [f"{hidden}.most"], keepdims=1, **axis)
        self._add_node("Max", [f"{hidden}.most", least], [f"{hidden}.greatest"])
        self._add_node("Div", [hidden, f"{hidden}.greatest"], [f"{hidden}.unit"])
        self._add_node("DynamicQuantizeLinear", [f"{hidden}.unit"], of_hidden)

    def _multiply_rows(self, hidden: str, turned: str, scale: str, out: str) -> None:
        self._add_node("MatMulInteger", [f"{hidden}.int8", turned, f"{hidden}.zero"], [f"{out}.int32"])
        self._add_node("Cast", [f"{out}.int32"], [f"{out}.sums"], to=_kinds()["F32"])
        self._add_node("Mul", [f"{hidden}.scale", scale], [f"{out}.scale"])
        self._add_node("Mul", [f"{out}.sums", f"{out}.scale"], [f"{out}.unit"])
        self._add_node("Mul", [f"{out}.unit", f"{hidden}.greatest"], [out])

    def _multiply_groups(self, hidden: str, weight: str, out: str, sizes: tuple[int, int]) -> None:
        from onnx import TensorProto

        groups = sizes[1] // _GROUP
        shift = self._constant("unsigned", np.array(_UNSIGNED, dtype=np.int32))
        shape = self._constant(f"groups_{sizes[0]}_{groups}", np.array([sizes[0], groups, _GROUP]))
        column = self._constant(f"column_{sizes[0]}", np.array([sizes[0], 1]))
        each = self._constant(f"each_{sizes[0]}_{groups}", np.array([sizes[0], groups]))
        self._make("Cast", [f"{weight}.rows"], f"{out}.wide", to=TensorProto.INT32)
        self._make("Add", [f"{out}.wide", shift], f"{out}.shifted")
        self._make("Cast", [f"{out}.shifted"], f"{out}.bytes", to=TensorProto.UINT8)
        self._make("Reshape", [f"{out}.bytes", shape], f"{out}.groups")
        self._make("Reshape", [f"{weight}.row_scale", column], f"{out}.column")
        self._make("Expand", [f"{out}.column", each], f"{out}.scales")
        how = {"K": sizes[1], "N": sizes[0], "bits": 8, "block_size": _GROUP, "accuracy_level": 4}
        self._add_node("MatMulNBits", [hidden, f"{out}.groups", f"{out}.scales"], [out], domain=_OWN, **how)

    def _add_node(self, operator: str, inputs: list[str], outputs: list[str], **settings: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, outputs, **settings))

    def _constant(self, name: str, value: np.ndarray) -> str:
        """Return the name of a constant, which is added if it is not there yet."""
        from onnx import numpy_helper

        name = f"shared.{name}"
        if all(one.name != name for one in self.weights):
            self.weights.append(numpy_helper.from_array(value, name))
        return name

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
