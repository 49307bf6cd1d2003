"""What every network must hold, whatever it does: one `Subject` describes it, `check_model` holds it to all of it.

A check changes something that must not matter (padding, neighbours in the batch, a save and a load, a compiler) or
demands something that training needs (a gradient everywhere, one batch learnt by heart).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from malsori.config import AudioConfig, Config
from malsori.pretrained.folder import ModelFacts, SavedModel, open_model, save_model
from malsori.systems import SYSTEMS
from malsori.text.symbols import JAMO, PHONEMES

Item = dict[str, Tensor]
#: Room for the sums of a longer batch, which a processor may add in another order.
TOLERANCE = {"atol": 2e-5, "rtol": 1e-4}


@dataclass(frozen=True)
class Subject:
    """One network at tiny sizes, and what it takes and gives.

    Attributes:
        system: its name in the table of systems.
        config: tiny sizes; widths all different, so that no transposed axis fits by chance.
        items: inputs of single examples, unequal in length: an axis of time first, a plain number for facts.
        real: cuts the real part of each output of example i out of a batch's output; fails if a shape is wrong. A
            network that takes no lengths sees the padding near an item's end: that part is not real.
        loss: what the network is trained on, for a batch of inputs and its output.
        careless: inputs whose padding may hold anything.
        framed: inputs with a step for each frame of the output, so that they are never longer than it.
        steps, remaining: one batch learnt by heart for so many steps leaves less than this share of its loss.
    """

    system: str
    config: Config
    items: Callable[[], list[Item]]
    real: Callable[[Any, Item, int], dict[str, Tensor]]
    loss: Callable[[Any, Item], Tensor]
    careless: tuple[str, ...] = ()
    framed: tuple[str, ...] = ()
    learning_rate: float = 3e-3
    steps: int = 50
    remaining: float = 0.5

    def build(self, seed: int = 0) -> nn.Module:
        """Return the network with random weights, in evaluation mode."""
        torch.manual_seed(seed)
        return SYSTEMS[self.system].resolve("network")(self.config).eval()


def stack(items: list[Item], padding: int = 0, framed: tuple[str, ...] = ()) -> Item:
    """Return examples as a padded batch, `padding` steps longer than the longest one (but for framed inputs)."""
    batch = {}
    for name, first in items[0].items():
        values = [item[name] for item in items]
        if first.dim() == 0:
            batch[name] = torch.stack(values)
            continue
        longest = max(len(value) for value in values) + (0 if name in framed else padding)
        batch[name] = torch.stack([_padded(value, longest) for value in values])
    return batch


def _padded(value: Tensor, length: int) -> Tensor:
    return torch.cat([value, value.new_zeros(length - len(value), *value.shape[1:])])


def check_model(subject: Subject, folder: Path) -> None:
    """Hold a network to everything that is quick to see."""
    for check in CHECKS:
        check(subject, folder)


def check_shapes(subject: Subject, _folder: Path) -> None:
    """Every output is finite and as long as the input says, in a batch and alone."""
    items, network = subject.items(), subject.build()
    with torch.no_grad():
        output = network(**stack(items))
    for index, item in enumerate(items):
        for name, value in subject.real(output, item, index).items():
            assert value.isfinite().all(), f"{name} of example {index} is not finite"
            assert value.numel(), f"{name} of example {index} is empty"


def check_padding(subject: Subject, _folder: Path) -> None:
    """Padding, however long, changes nothing real; nor does what stands in it."""
    items, network = subject.items(), subject.build()
    batch = stack(items, 13, subject.framed)
    for name in subject.careless:
        for row, item in zip(batch[name], items, strict=True):
            row[len(item[name]) :] = 7.0
    with torch.no_grad():
        _compare(subject, items, network(**stack(items)), network(**batch))


def check_single(subject: Subject, _folder: Path) -> None:
    """An example alone gives what it gives in a batch."""
    items, network = subject.items(), subject.build()
    with torch.no_grad():
        together = network(**stack(items))
        for index, item in enumerate(items):
            alone = network(**stack([item]))
            wanted, found = subject.real(together, item, index), subject.real(alone, item, 0)
            for name, value in wanted.items():
                torch.testing.assert_close(found[name], value, **TOLERANCE, msg=_saying(f"{name} of example {index}"))


def check_saving(subject: Subject, folder: Path) -> None:
    """A saved and opened network has the same weights, bit for bit; float16 on disk rounds them and no more."""
    items, network = subject.items(), subject.build(seed=5)
    for half in (False, True):
        save_model(saved(subject, network), folder / f"half-{half}", "float16" if half else "float32")
        opened = open_model(folder / f"half-{half}")
        assert not opened.network.training and opened.facts == facts_of(subject)
        for name, tensor in opened.network.state_dict().items():
            wanted = network.state_dict()[name]
            if half and wanted.is_floating_point():
                wanted = wanted.half().float()
            assert tensor.dtype == wanted.dtype and torch.equal(tensor, wanted), f"{name}, half={half}"
        if not half:
            with torch.no_grad():
                _compare(subject, items, network(**stack(items)), opened.network(**stack(items)), atol=0.0, rtol=0.0)


def check_gradients(subject: Subject, _folder: Path) -> None:
    """Every weight moves some output: none is built and forgotten, none cut off from the loss."""
    network = subject.build()
    output = network(**stack(subject.items()))
    torch.manual_seed(1)
    products = []
    for value in vars(output).values():
        for tensor in value if isinstance(value, list) else [value]:
            if tensor.requires_grad:
                products.append((tensor * torch.rand_like(tensor)).sum())
    torch.stack(products).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, f"no gradient reaches {name}"


def check_learning(subject: Subject, _folder: Path) -> None:
    """One batch can be learnt by heart, as it is trained: dropout and all."""
    network, batch = subject.build().train(), stack(subject.items())
    optimizer = torch.optim.Adam(network.parameters(), lr=subject.learning_rate)
    first = subject.loss(network(**batch), batch).item()
    for _ in range(subject.steps):
        optimizer.zero_grad()
        subject.loss(network(**batch), batch).backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        last = subject.loss(network(**batch), batch).item()
    assert last < subject.remaining * first, f"the loss went from {first:.3f} to {last:.3f} only"


CHECKS = (check_shapes, check_padding, check_single, check_saving, check_gradients, check_learning)


def check_compile(subject: Subject) -> None:
    """A compiled network gives what the plain one gives. Only for a process without checks of shapes."""
    _compare_on_others(subject, lambda network, _batch: torch.compile(network))


def check_export(subject: Subject) -> None:
    """An exported program gives what the network gives. Only for a process without checks of shapes."""

    def export(network: nn.Module, batch: Item) -> Callable[..., Any]:
        output = type(network(**batch))
        torch.export.register_dataclass(output, serialized_type_name=output.__name__)
        return torch.export.export(network, (), kwargs=batch, strict=False).module()

    _compare_on_others(subject, export)


@torch.no_grad()
def _compare_on_others(subject: Subject, translate: Callable[[nn.Module, Item], Callable[..., Any]]) -> None:
    """Translate a network on one batch, compare on another of the same size, in which all lengths differ."""
    items, network = subject.items(), subject.build()
    translated = translate(network, stack(items))
    for order in (items, items[::-1]):
        batch = stack(order)
        _compare(subject, order, network(**batch), translated(**batch))


def facts_of(subject: Subject) -> ModelFacts:
    """Return what a saved model of the subject would say of itself."""
    audio = AudioConfig()
    return ModelFacts(
        system=subject.system,
        model=subject.config.model_dump(mode="json"),
        audio=audio,
        audio_fingerprint=audio.fingerprint(),
    )


def saved(subject: Subject, network: nn.Module) -> SavedModel:
    """Return the subject as a model to be saved."""
    return SavedModel(facts_of(subject), {"phonemes": PHONEMES, "jamo": JAMO}, network, "# 한 사람을 위한 카드\n")


def _compare(subject: Subject, items: list[Item], wanted: Any, found: Any, **tolerance: float) -> None:
    for index, item in enumerate(items):
        real, other = subject.real(wanted, item, index), subject.real(found, item, index)
        for name, value in real.items():
            torch.testing.assert_close(
                other[name], value, **(tolerance or TOLERANCE), msg=_saying(f"{name} of example {index}")
            )


def _saying(what: str) -> Callable[[str], str]:
    return lambda message: f"{what}: {message}"
