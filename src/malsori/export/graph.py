"""A network as an ONNX graph: traced once, and its weights stored in the numbers that are asked for.

PyTorch's tracing exporter is used, not the newer one: it takes a thirtieth of the time, needs no package but onnx, and
a graph that is run beside the network it came from, at other lengths, shows whether anything was frozen in it.
"""

import io
import logging
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from malsori.extras import import_extra

#: ONNX's operator set: 18 is of 2022, and read by onnxruntime since 1.14.
OPSET, OPSETS = 18, (17, 22)
#: In which numbers weights are stored. float16: computed with in float32; int8: the matrix products, rest as float16.
WeightType = Literal["float32", "float16", "int8"]

_SMALL = 256  # numbers; fewer stay float32: biases, norms


@dataclass(frozen=True)
class Graph:
    """What is traced.

    Attributes:
        module: takes the inputs in their order, gives a tuple of tensors, or one.
        inputs: examples by name; their sizes are those of the tracing alone where an axis has a name.
        outputs: names.
        axes: name of an input or output → axis → its name; the others are fixed.
        precise: weights, and outputs of a product, that stay as they are where others become float16 or int8. Weights
            by their names in the network; they have none where what depends on weights alone was worked out.
        stepwise: it is run for a token at a time, so that reading the weights takes the most time.
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    axes: Mapping[str, Mapping[int, str]]
    precise: tuple[str, ...] = ()
    stepwise: bool = False

    def example_outputs(self) -> dict[str, Tensor]:
        """Return what the module gives for the examples."""
        with torch.inference_mode():
            found = self.module.eval()(*self.inputs.values())
        return dict(zip(self.outputs, (found,) if isinstance(found, Tensor) else found, strict=True))


def onnx_bytes(graph: Graph, dtype: WeightType = "float32", opset: int = OPSET) -> bytes:
    """Return the graph as the content of an ONNX file.

    Raises: MissingExtraError without onnx.
    """
    return _stored(traced(graph, opset), dtype, graph.precise)


def traced(graph: Graph, opset: int = OPSET, folded: bool = True) -> bytes:
    """Return the graph as the content of an ONNX file, in float32.

    Args:
        folded: what depends on weights alone is worked out now; otherwise weights keep the names of the module's.
    Raises: MissingExtraError without onnx.
    """
    import_extra("onnx", "an export")
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of sizes that are the same each time, and of the exporter's age
        torch.onnx.export(
            graph.module.eval(),
            tuple(graph.inputs.values()),
            buffer,  # type: ignore[arg-type]  # what is named here is only what the newer exporter takes
            dynamo=False,
            do_constant_folding=folded,
            training=torch.onnx.TrainingMode.EVAL if folded else torch.onnx.TrainingMode.PRESERVE,  # no norm fused
            opset_version=opset,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes={name: dict(axes) for name, axes in graph.axes.items()},
        )
    return buffer.getvalue()


def _stored(content: bytes, dtype: WeightType, precise: tuple[str, ...]) -> bytes:
    """Return an ONNX file with its weights in other numbers."""
    import onnx

    model = onnx.load_from_string(content)
    if dtype == "int8":
        model = _quantized(model, precise)
    if dtype != "float32":
        _halve(model, precise)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _quantized(model: Any, precise: tuple[str, ...]) -> Any:
    """Return a model whose products with weights are of int8 rows and of activations that are scaled as they come."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    kept = [node.name for node in products if {*node.input, *node.output} & set(precise)]
    log, level = logging.getLogger(), logging.getLogger().level
    with tempfile.TemporaryDirectory() as folder:
        log.setLevel(logging.ERROR)  # it recommends a pass that does nothing here
        try:
            quantize_dynamic(
                model,
                f"{folder}/int8.onnx",
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=kept,
                extra_options={"MatMulConstBOnly": True},
            )
        finally:
            log.setLevel(level)
        return onnx.load(f"{folder}/int8.onnx")


def _halve(model: Any, precise: tuple[str, ...]) -> None:
    """Store a model's weights in float16, each widened before anything is computed with it."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or weight.name in precise:
            continue
        values = numpy_helper.to_array(weight)
        if values.size < _SMALL or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [weight.name], [name], f"{name}.wide", to=TensorProto.FLOAT))
    for number, cast in enumerate(casts):
        model.graph.node.insert(number, cast)
