"""A recorder of the autograd graph while a task runs: which module makes which node, and where gradients are cut off.

Autograd numbers its nodes as they are recorded; whatever is recorded between a module's entry and its exit is its.
`detach`, and modules that run under `no_grad`, leave a mark in the graph instead of ending it, so that what lies
behind a cut can be found too.
"""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from malsori.train.contributions import units

NOT_SHOWN = ("_lengths", "_mask")  # parts of a batch that say only what is padding


class _Cut(torch.autograd.Function):
    """Identity that sends no gradient back, and leaves a node in the graph where `detach` would leave none."""

    @staticmethod
    def forward(context: Any, value: Tensor, anchor: Tensor) -> Tensor:
        """Return a copy."""
        return value.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[None, None]:
        """Return nothing."""
        return None, None


def is_cut(node: Any) -> bool:
    """Return True for the mark that a cut leaves in the graph."""
    return type(node).__name__ == "_CutBackward"


@dataclass(frozen=True)
class Call:
    """One pass through a module: the counter when it began and ended, and the names of what it was fed."""

    module: str
    start: int
    end: int
    inputs: frozenset[str]


class GraphRecorder(TorchFunctionMode):
    """Records, while a task runs, which module made which node, what outputs are called, and where the batch goes."""

    def __init__(self, task: nn.Module, batch: Any) -> None:
        super().__init__()
        paths = {id(module): path for path, module in task.named_modules()}
        optimized = task.optimized_modules()  # type: ignore[operator]
        self.task, self.optimized_paths = task, {turn: paths[id(module)] for turn, module in optimized.items()}
        self.units: dict[str, nn.Module] = {}
        for path in dict.fromkeys(self.optimized_paths.values()):
            found = units(task.get_submodule(path))
            self.units |= {f"{path}.{name}" if name else path: unit for name, unit in found.items()}
        inside = tuple(f"{path}." for path in self.optimized_paths.values())
        rest = {name: unit for name, unit in units(task).items() if name and name not in self.optimized_paths.values()}
        self.units |= {name: unit for name, unit in rest.items() if not any(p.startswith(f"{name}.") for p in inside)}
        self.units = {name: unit for name, unit in self.units.items() if any(True for _ in unit.parameters())}
        self.calls: list[Call] = []
        self.feeds: list[tuple[Any, str]] = []  # (node, module that was fed by it where nothing is recorded)
        self.outputs: dict[Any, tuple[str, str, str]] = {}  # node → (part, field, fed with)
        self.cut_from: dict[Any, str] = {}  # node of a cut → module that ran without recording
        self.fields = {id(v): (v, frozenset([k])) for k, v in vars(batch).items() if isinstance(v, Tensor)}
        self.within = frozenset(name for name, value in vars(batch).items() if dataclasses.is_dataclass(value))
        for name in self.within:  # a batch in the batch goes by one name
            self.fields |= {id(v): (v, frozenset([name])) for v in _tensors(getattr(batch, name))}
        self.open: list[tuple[str, int, frozenset[str], str]] = []
        self.anchor = torch.zeros((), requires_grad=True)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """GraphRecorder while the block runs."""
        with ExitStack() as stack:
            for path in dict.fromkeys([*self.optimized_paths.values(), *self.units]):
                module = self.task.get_submodule(path)
                stack.callback(module.register_forward_pre_hook(self._enter(path), with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(self._leave(path)).remove)
            stack.enter_context(self)
            yield

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        """Mark cuts, and pass the names of the batch's parts on to what is made of them outside the modules."""
        name = getattr(function, "__name__", "")
        tensors = [leaf for leaf in tree_leaves((arguments, keywords)) if isinstance(leaf, Tensor)]
        if name == "numpy":
            with torch._C.DisableTorchFunction():
                return arguments[0].detach().numpy()
        if name == "detach" and arguments[0].grad_fn is not None and torch.is_grad_enabled():
            return _Cut.apply(arguments[0], self.anchor)
        result = function(*arguments, **(keywords or {}))
        if not self._in_unit():
            names = frozenset().union(*(self.names(tensor) for tensor in tensors))
            for leaf in tree_leaves(result) if names else ():
                if isinstance(leaf, Tensor):
                    self.fields[id(leaf)] = (leaf, names)
        return result

    def names(self, tensor: Tensor) -> frozenset[str]:
        """Return which parts of the batch a tensor was made of, outside the modules."""
        return self.fields.get(id(tensor), (None, frozenset[str]()))[1]

    def _in_unit(self) -> bool:
        return any(path in self.units for path, *_ in self.open)

    def _now(self) -> int:
        with torch.enable_grad(), torch._C.DisableTorchFunction():
            return (self.anchor + 0).grad_fn._sequence_nr()  # type: ignore[union-attr]

    def _enter(self, path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, arguments: Any, keywords: Any) -> None:
            tensors = [leaf for leaf in tree_leaves((arguments, keywords)) if isinstance(leaf, Tensor)]
            names = frozenset().union(*(self.names(tensor) for tensor in tensors))
            made = next((self.outputs[t.grad_fn][1] for t in tensors if t.grad_fn in self.outputs), "")
            made = made or next((self._origin(tensor) for tensor in tensors if self._origin(tensor)), "")
            if not torch.is_grad_enabled():
                self.feeds += [(tensor.grad_fn, path) for tensor in tensors if tensor.grad_fn is not None]
            shown = (name for name in sorted(names) if not name.endswith(NOT_SHOWN))
            fed = made or next((name if name in self.within else f"batch.{name}" for name in shown), "")
            self.open.append((path, self._now(), names, fed))

        return hook

    def _origin(self, tensor: Tensor) -> str:
        """Return the name of the output that a tensor is a cut copy of."""
        node = tensor.grad_fn
        while node is not None and is_cut(node):
            node = node.next_functions[0][0] if node.next_functions else None
            if node in self.outputs:
                return self.outputs[node][1]
        return ""

    def _leave(self, path: str) -> Callable[..., Any]:
        def hook(_module: nn.Module, _arguments: Any, result: Any) -> Any:
            _, start, names, fed = self.open.pop()
            if path in self.units:
                self.calls.append(Call(path, start, self._now(), names))
            for tensor in (tensor for tensor in _tensors(result) if tensor.grad_fn is not None):
                self.fields.pop(id(tensor), None)  # what a module makes is its own, no part of the batch
            outermost = not any(other in self.optimized_paths.values() for other, *_ in self.open)
            if not torch.is_grad_enabled() and (path in self.units or outermost):
                result = _mapped(result, lambda tensor: self._cut(path, tensor))
            if outermost and path in self.optimized_paths.values() and dataclasses.is_dataclass(result):
                self._note_outputs(path, result, fed)
            return result

        return hook

    def _note_outputs(self, path: str, result: Any, fed: str) -> None:
        for field in dataclasses.fields(result):
            for tensor in _tensors(getattr(result, field.name)):
                if tensor.grad_fn is not None:
                    self.outputs[tensor.grad_fn] = (path, field.name, fed)

    def _cut(self, path: str, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        with torch.enable_grad(), torch._C.DisableTorchFunction():
            marked = _Cut.apply(tensor.detach(), self.anchor)
        self.cut_from[marked.grad_fn] = path
        return marked


def _tensors(value: Any) -> list[Tensor]:
    """Return the tensors in a result, of a dataclass too."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = list(vars(value).values())
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a result of the same shape with every tensor changed; dataclasses are gone into."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _mapped(getattr(value, field.name), change) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return tree_map(lambda leaf: change(leaf) if isinstance(leaf, Tensor) else leaf, value)
