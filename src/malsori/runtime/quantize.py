"""A network as it computes when it no longer learns: weight norms folded, linear layers in int8.

    activations ─► 7 bits, a scale a row, as they come ─► int8 product, int32 sums ─► float32
                                   weights: int8 rows with a scale each, as `pretrained.storage` keeps them

The product is PyTorch's own (`quantized::linear_dynamic`, FBGEMM on x86). Activations keep to 7 bits because CPUs
without VNNI add two products of 8 bits in 16 before anything else, where 8 bits would overflow.
"""

import copy
import warnings
from fnmatch import fnmatch
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

#: Which linear layers compute in int8: those that a network names by patterns as its INT8_LAYERS, or all.
Int8 = Literal["gaining", "all"]
Network = TypeVar("Network", bound=nn.Module)


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


class Int8Embedding(nn.Module):
    """A token embedding whose use as the output layer is in int8; what is looked up is not rounded."""

    def __init__(self, embedding: TiedEmbedding) -> None:
        super().__init__()
        self.weight, self.output = embedding.weight, Int8Linear(embedding.weight.detach(), None)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Return the tokens' vectors."""
        return nn.functional.embedding(token_ids, self.weight)

    def logits(self, hidden: Float[Tensor, "*rows features"]) -> Float[Tensor, "*rows vocab"]:
        """Return each token's score; what 7 bits lose of the hidden state is computed with too, to 14 in all.

        7 alone changed 3.5 % of greedy tokens (RESULTS.md); two products still are several times as fast as float32.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rounded = torch.quantize_per_tensor_dynamic(hidden, torch.quint8, _SEVEN_BITS).dequantize()
        product = torch.ops.quantized.linear_dynamic
        return product(hidden, self.output.packed, _SEVEN_BITS) + product(
            hidden - rounded, self.output.packed, _SEVEN_BITS
        )


def serves_int8() -> bool:
    """Return whether this PyTorch has int8 products for this CPU."""
    return torch.backends.quantized.engine != "none"


def prepared(network: Network, int8: Int8 | None = None) -> Network:
    """Return a network of the same numbers to infer with: itself, or a copy that shares its weights.

    Raises: DeviceError if int8 is asked for, and this PyTorch has none for this CPU.
    """
    if int8 is not None and not serves_int8():
        raise DeviceError("this PyTorch has no int8 products for this CPU; it computes in float32")
    folded = [name for name, layer in network.named_modules() if parametrize.is_parametrized(layer, "weight")]
    patterns = {None: (), "gaining": getattr(network, "INT8_LAYERS", ()), "all": ("*",)}[int8]
    if not folded and not patterns:
        return network
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    network = copy.deepcopy(network, shared)
    for name in folded:
        _fold(network.get_submodule(name))
    for name, layer in list(network.named_modules()):
        if name and any(fnmatch(name, pattern) for pattern in patterns):
            above, _, own = name.rpartition(".")
            setattr(network.get_submodule(above), own, _quantized(layer))
    return network


def _fold(layer: Any) -> None:
    """Let a layer hold its weight as a number of its own; PyTorch's removal would change the class of every copy."""
    weight = layer.weight.detach()
    layer.__class__ = parametrize.type_before_parametrizations(layer)
    del layer._modules["parametrizations"]
    layer.weight = nn.Parameter(weight, requires_grad=False)


def _quantized(layer: nn.Module) -> nn.Module:
    """Return the layer in int8, if it is one that can be."""
    if isinstance(layer, TiedEmbedding):
        return Int8Embedding(layer)
    if type(layer) is nn.Linear:
        return Int8Linear(layer.weight.detach(), None if layer.bias is None else layer.bias.detach())
    return layer
