"""A network as it computes when it no longer learns: weight norms folded, the weights of linear layers smaller.

    activations, float32 ─────────────────────────────► product of float32 ─► x scale a row ─► float32
                     weights: rows of float16 ─┘ as they are read from memory, which is what bounds a decoder's step

    activations ─► 7 bits, a scale a row, as they come ─► int8 product, int32 sums ─► float32
                                   weights: int8 rows with a scale each, as `pretrained.storage` keeps them

The products are PyTorch's own (`quantized::linear_dynamic_fp16`, `quantized::linear_dynamic`; FBGEMM on x86). A row is
scaled so that its greatest weight is 127, and what was stored as int8 rows is so held exactly. int8 activations keep to
7 bits because CPUs without VNNI add two products of 8 bits in 16 before anything else, where 8 bits would overflow.
"""

import copy
import warnings
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from malsori.errors import DeviceError
from malsori.nn.transformer import TiedEmbedding
from malsori.pretrained.storage import quantize_rows

_SEVEN_BITS = True
_LEAST = 1e-20  # divides a row of zeros
_FBGEMM = ("x86", "fbgemm")  # the engines that have float16 weights

#: In which numbers linear layers keep their weights, if not in float32; with "int8" they compute in it too.
LinearWeights = Literal["float16", "int8"]
Network = TypeVar("Network", bound=nn.Module)


class HalfLinear(nn.Module):
    """A linear layer whose weights are float16 with a scale a row; all that is computed is float32."""

    def __init__(self, weight: Float[Tensor, "outputs inputs"], bias: Float[Tensor, " outputs"] | None) -> None:
        super().__init__()
        weight = weight.float()
        self.scale = quantize_rows(weight)[1].clamp(min=torch.finfo(torch.float32).tiny)
        self.packed = torch.ops.quantized.linear_prepack_fp16(weight / self.scale[:, None], None)
        self.bias = bias

    def forward(self, hidden: Float[Tensor, "*rows inputs"]) -> Float[Tensor, "*rows outputs"]:
        """Return what the layer makes of each row."""
        products = torch.ops.quantized.linear_dynamic_fp16(hidden, self.packed)
        return products * self.scale if self.bias is None else torch.addcmul(self.bias, products, self.scale)


class HalfEmbedding(nn.Module):
    """A token embedding whose use as the output layer has float16 weights; what is looked up is not rounded."""

    def __init__(self, embedding: TiedEmbedding) -> None:
        super().__init__()
        self.weight, self.logits = embedding.weight, HalfLinear(embedding.weight.detach(), None)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Return the tokens' vectors."""
        return nn.functional.embedding(token_ids, self.weight)


class Int8Linear(nn.Module):
    """A linear layer of int8 rows; of rows that were stored as int8 the very same ones."""

    def __init__(self, weight: Float[Tensor, "outputs inputs"], bias: Float[Tensor, " outputs"] | None) -> None:
        super().__init__()
        scale = quantize_rows(weight)[1].clamp(min=torch.finfo(torch.float32).tiny)
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        with warnings.catch_warnings():  # what makes int8 tensors is to leave PyTorch, which says so
            warnings.simplefilter("ignore")
            rows = torch.quantize_per_channel(weight.float(), scale, zeros, 0, torch.qint8)
        self.packed = torch.ops.quantized.linear_prepack(rows, None)
        self.bias = torch.zeros(len(weight)) if bias is None else bias

    def forward(self, hidden: Float[Tensor, "*rows inputs"]) -> Float[Tensor, "*rows outputs"]:
        """Return what the layer makes of each row, to int8's precision."""
        if hidden.numel() == hidden.shape[-1]:
            return torch.ops.quantized.linear_dynamic(hidden, self.packed, _SEVEN_BITS) + self.bias
        greatest = torch.linalg.vector_norm(hidden, torch.inf, -1, keepdim=True).clamp_(min=_LEAST)
        products = torch.ops.quantized.linear_dynamic(hidden / greatest, self.packed, _SEVEN_BITS)
        return torch.addcmul(self.bias, products, greatest)


def serves_int8() -> bool:
    """Return whether this PyTorch has int8 products for this CPU."""
    return torch.backends.quantized.engine != "none"


def serves_float16() -> bool:
    """Return whether this PyTorch has products of float32 with float16 weights for this CPU."""
    return torch.backends.quantized.engine in _FBGEMM


def prepared(network: Network, linear: LinearWeights | None = None) -> Network:
    """Return a network of the same numbers to infer with: itself, or a copy that shares its weights.

    Raises: DeviceError if other weights than float32 are asked for, and this PyTorch has none for this CPU.
    """
    if linear and not (serves_int8() if linear == "int8" else serves_float16()):
        raise DeviceError(f"this PyTorch has no {linear} products for this CPU; it computes in float32")
    folded = [name for name, layer in network.named_modules() if parametrize.is_parametrized(layer, "weight")]
    if not folded and not linear:
        return network
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    network = copy.deepcopy(network, shared)
    for name in folded:
        _fold(network.get_submodule(name))
    for name, layer in list(network.named_modules()):
        if linear and name:
            above, _, own = name.rpartition(".")
            setattr(network.get_submodule(above), own, _smaller(layer, linear))
    return network


def _fold(layer: Any) -> None:
    """Let a layer hold its weight as a number of its own; PyTorch's removal would change the class of every copy."""
    weight = layer.weight.detach()
    layer.__class__ = parametrize.type_before_parametrizations(layer)
    del layer._modules["parametrizations"]
    layer.weight = nn.Parameter(weight, requires_grad=False)


def _smaller(layer: nn.Module, linear: LinearWeights) -> nn.Module:
    """Return the layer with smaller weights, if it is one that can have them."""
    if isinstance(layer, TiedEmbedding):  # int8 there costs words
        return HalfEmbedding(layer) if serves_float16() else layer
    if type(layer) is nn.Linear:
        kind = Int8Linear if linear == "int8" else HalfLinear
        return kind(layer.weight.detach(), None if layer.bias is None else layer.bias.detach())
    return layer
