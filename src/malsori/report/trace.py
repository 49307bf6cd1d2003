"""What the losses of a system reach, found out by running its task on a tiny batch and following the autograd graph.

    modules ─► named outputs ─► named losses          solid: a gradient comes back this way
                                                      cut: `detach` or `no_grad` lets none through

Nothing here knows any system: `report.graph_recorder` records while the task runs, and here the graph of single
operations is contracted to boxes and arrows.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from malsori.report.graph_recorder import NOT_SHOWN, GraphRecorder, is_cut
from malsori.train.contributions import unit_parameters, units


@dataclass(frozen=True)
class DiagramNode:
    """One box of a turn: a module, a named output, or a part of the batch.

    Attributes:
        kind: "module", "output" or "input".
        name: dotted for a module ("adaptor.pitch_predictor"), the field's for an output.
        made_from: of an output, what its network was fed, where it was fed several things; of a module, its class.
        weights: how many numbers the module holds.
        losses: names of the losses of this turn whose gradient reaches its weights.
        state: of a module: "stepped", "frozen" (a gradient passes, its weights stay) or "no gradient".
        units: the dotted names, below the turn's part, that stand behind the box.
    """

    kind: str
    name: str
    made_from: str = ""
    weights: int = 0
    losses: tuple[str, ...] = ()
    state: str = ""
    units: tuple[str, ...] = ()


@dataclass(frozen=True)
class TracedLoss:
    """A loss: its value on the tiny batch, and the parts of the batch it is measured against."""

    name: str
    value: float
    against: tuple[str, ...]


@dataclass(frozen=True)
class TracedTurn:
    """One turn of a task.

    Attributes:
        name: the turn's.
        optimized_module: dotted name of what its optimizer steps.
        nodes: key → box; keys of modules and outputs are unique in the turn.
        losses: in the task's order.
        arrows: (from, to) → "gradient" where one comes back, "cut" where it is stopped, "data" where none would come
            anyway; `to` may be "loss:NAME".
    """

    name: str
    optimized_module: str
    nodes: dict[str, DiagramNode]
    losses: tuple[TracedLoss, ...]
    arrows: dict[tuple[str, str], str]


def trace(task: nn.Module, batch: Any) -> list[TracedTurn]:
    """Return every turn of a task, traced on one batch. The task's weights and their gradients stay as they are."""
    recorder = GraphRecorder(task, batch)
    turns = []
    with recorder.recording():
        for turn in task.losses(batch):  # type: ignore[operator]
            turns.append(_TurnGraph(recorder, turn.name, turn.losses).traced())
    return turns


class _TurnGraph:
    """One turn's losses and what lies behind them, node by node; then contracted to boxes and arrows."""

    def __init__(self, recorder: GraphRecorder, name: str, losses: dict[str, Tensor]) -> None:
        self.recorder, self.name, self.losses = recorder, name, losses
        self.optimized_path = recorder.optimized_paths[name]
        calls = sorted(recorder.calls, key=lambda call: call.start)
        self.starts, self.calls = [call.start for call in calls], calls
        owned = unit_parameters(recorder.task.get_submodule(self.optimized_path))
        self.unit_of = {id(parameter): name for name, parameters in owned.items() for parameter in parameters}
        self.reached: dict[str, list[str]] = {name: [] for name in owned}
        for loss, tensor in losses.items():
            for node in _behind(tensor.grad_fn, past_cuts=False):
                unit = self.unit_of.get(id(getattr(node, "variable", None)))
                if unit is not None and loss not in self.reached[unit]:
                    self.reached[unit].append(loss)
        self.boxes = self._group()

    def traced(self) -> TracedTurn:
        """Return the turn as boxes and arrows."""
        arrows = _without_unused_outputs(self._arrows())
        merged = _merge_cycles(arrows)
        arrows = _renamed(arrows, merged)
        flows, nodes = _flows(arrows), {}
        wanted = {key for pair in flows for key in pair if not key.startswith("loss:")}
        wanted |= {merged.get(box, box) for box in self.boxes.values()}
        for key in sorted(wanted):
            members = [unit for unit, box in self.boxes.items() if merged.get(box, box) == key]
            nodes[key] = self._diagram_node(key, members)
        losses = tuple(
            TracedLoss(name, tensor.item(), _shown(self.recorder.names(tensor))) for name, tensor in self.losses.items()
        )
        return TracedTurn(self.name, self.optimized_path, nodes, losses, flows)

    def _own_units(self) -> list[str]:
        return list(unit_parameters(self.recorder.task.get_submodule(self.optimized_path)))

    def _group(self) -> dict[str, str]:
        """Return unit → box: neighbours in a list that are of one class and meet the same losses share one."""
        boxes: dict[str, str] = {}
        last: tuple[Any, ...] = ()
        found = units(self.recorder.task.get_submodule(self.optimized_path))
        for unit in self._own_units():
            stem = ".".join(word for word in unit.split(".") if not word.isdigit())
            kind = (stem, _class_name(found[unit]), tuple(self.reached[unit]))
            if stem == unit or kind != last:
                box = f"module:{unit or '(own weights)'}"
            boxes[unit], last = box, kind
        return boxes

    def _key(self, unit_path: str) -> str:
        """Return the box of a module by its path in the task; one of another part is drawn as the whole part."""
        if unit_path == self.optimized_path or unit_path.startswith(f"{self.optimized_path}."):
            unit = unit_path.removeprefix(self.optimized_path).lstrip(".")
            return self.boxes.get(unit, f"module:{unit}")
        paths = self.recorder.optimized_paths.values()
        others = [path for path in paths if unit_path == path or unit_path.startswith(f"{path}.")]
        return f"part:{max(others, key=len) if others else unit_path}"

    def _owner(self, node: Any) -> str:
        """Return the box whose module made a node; "" for operations between modules."""
        variable = getattr(node, "variable", None)
        if variable is not None:
            return self.boxes.get(self.unit_of.get(id(variable), "-"), "")
        number = node._sequence_nr()
        for place in range(bisect_right(self.starts, number) - 1, -1, -1):
            if number <= self.calls[place].end and number > self.starts[place]:
                return self._key(self.calls[place].module)
        return ""

    def _arrows(self) -> dict[tuple[str, str], bool]:
        """Return the arrows between boxes, True where cut; operations without a box are passed through."""
        arrows: dict[tuple[str, str], bool] = {}
        within = {path: _Sources(self, path) for path in {*self.recorder.optimized_paths.values(), ""}}
        everything: set[Any] = set()
        for name, loss in self.losses.items():
            _add(arrows, within[""].of(loss.grad_fn), f"loss:{name}")
            everything |= _behind(loss.grad_fn, past_cuts=True)
        for node in everything:
            owner = self._owner(node)
            if node in self.recorder.outputs:
                made_by = {(owner, False)} if owner else within[self.recorder.outputs[node][0]].before(node)
                _add(arrows, made_by, within[""].output(node))
            if owner:
                _add(arrows, within.get(self._module_of(owner), within[""]).before(node), owner)
        for node, path in self.recorder.feeds:
            if self._key(path) in {key for pair in arrows for key in pair}:
                _add(arrows, {(key, True) for key, _ in within[""].of(node)}, self._key(path))
        return arrows | self._from_batch(arrows)

    def _module_of(self, box: str) -> str:
        return self.optimized_path if box.startswith("module:") else box.removeprefix("part:")

    def _from_batch(self, arrows: dict[tuple[str, str], bool]) -> dict[tuple[str, str], bool]:
        boxes = {key for pair in arrows for key in pair}
        fed = {(field, self._key(call.module)) for call in self.recorder.calls for field in _shown(call.inputs)}
        return {(f"input:{field}", box): False for field, box in fed if box in boxes}

    def _diagram_node(self, key: str, members: list[str]) -> DiagramNode:
        kind, _, name = key.partition(":")
        if kind == "input":
            return DiagramNode("input", name)
        if kind == "output":
            part, field, fed = name.split("|")
            several = len({other[2] for other in self.recorder.outputs.values() if other[0] == part}) > 1
            return DiagramNode("output", field, fed if several else "")
        if kind == "part" or not members:
            module = self.recorder.task.get_submodule(name if kind == "part" else f"{self.optimized_path}.{name}")
            return DiagramNode("module", name, _class_name(module), _count([module]), state="frozen")
        found = units(self.recorder.task.get_submodule(self.optimized_path))
        modules = [found[unit] for unit in members]
        losses = tuple(loss for loss in self.losses if any(loss in self.reached[unit] for unit in members))
        classes = " + ".join(dict.fromkeys(_class_name(module) for module in modules))
        state = "stepped" if losses else "no gradient"
        return DiagramNode("module", _named(members), classes, _count(modules), losses, state, tuple(members))


class _Sources:
    """Which boxes stand directly behind a node, with whether a cut lies between; each node is asked once.

    Within a part its own outputs do not count: its modules are fed by its modules.
    """

    def __init__(self, turn: _TurnGraph, within: str) -> None:
        self.turn, self.within, self.known = turn, within, dict[Any, set[tuple[str, bool]]]()

    def output(self, node: Any) -> str:
        """Return the key of a named output."""
        return "output:" + "|".join(self.turn.recorder.outputs[node])

    def of(self, node: Any) -> set[tuple[str, bool]]:
        """Return the boxes that a node's value comes from: its own if it has one."""
        stack = [node]
        while stack:
            top = stack[-1]
            if top is None or top in self.known:
                stack.pop()
                continue
            outside = top in self.turn.recorder.outputs and self.turn.recorder.outputs[top][0] != self.within
            own = self.output(top) if outside else self.turn._owner(top)
            waiting = [] if own else [n for n, _ in top.next_functions if n is not None and n not in self.known]
            if waiting:
                stack += waiting
                continue
            self.known[top] = {(own, False)} if own else self.before(top)
            stack.pop()
        return self.known.get(node, set())

    def before(self, node: Any) -> set[tuple[str, bool]]:
        """Return the boxes that feed a node."""
        found: set[tuple[str, bool]] = set()
        for following, _ in node.next_functions:
            found |= self.of(following)
        if node in self.turn.recorder.cut_from:
            found.add((self.turn._key(self.turn.recorder.cut_from[node]), False))
        if is_cut(node):
            return {(key, True) for key, _ in found}
        return found


def _behind(node: Any, past_cuts: bool) -> set[Any]:
    """Return every node of the graph behind one, itself included."""
    seen, stack = set(), [node]
    while stack:
        top = stack.pop()
        if top is None or top in seen:
            continue
        seen.add(top)
        if past_cuts or not is_cut(top):
            stack += [following for following, _ in top.next_functions]
    return seen


def _add(arrows: dict[tuple[str, str], bool], sources: Iterable[tuple[str, bool]], target: str) -> None:
    """Add arrows; where a gradient finds one way back, the arrow is not cut."""
    for source, cut in sources:
        if source and source != target:
            arrows[source, target] = arrows.get((source, target), True) and cut


def _without_unused_outputs(arrows: dict[tuple[str, str], bool]) -> dict[tuple[str, str], bool]:
    feeding = {source for source, _ in arrows}
    return {pair: cut for pair, cut in arrows.items() if not pair[1].startswith("output:") or pair[1] in feeding}


def _flows(arrows: dict[tuple[str, str], bool]) -> dict[tuple[str, str], str]:
    """Return what each arrow carries back: nothing comes over one whose end no loss sends a gradient to."""
    live = {target for _, target in arrows if target.startswith("loss:")}
    while more := {source for (source, target), cut in arrows.items() if target in live and not cut} - live:
        live |= more
    flows = {}
    for (source, target), cut in arrows.items():
        passes = target in live and not source.startswith("input:")
        flows[source, target] = ("cut" if cut else "gradient") if passes else "data"
    return flows


def _merge_cycles(arrows: dict[tuple[str, str], bool]) -> dict[str, str]:
    """Return box → box for modules that feed each other in a cycle: lists whose members take turns."""
    following: dict[str, set[str]] = {}
    for source, target in arrows:
        if source.startswith("module:") and target.startswith("module:"):
            following.setdefault(source, set()).add(target)
    reach = {box: _reachable(box, following) for box in following}
    merged: dict[str, str] = {}
    for box in following:
        cycle = [box, *(other for other in reach[box] if box in reach.get(other, ()) and other != box)]
        if len(cycle) > 1:
            merged[box] = min(cycle)
    return merged


def _reachable(box: str, following: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    stack = [box]
    while stack:
        for other in following.get(stack.pop(), ()):
            if other not in seen:
                seen.add(other)
                stack.append(other)
    return seen


def _renamed(arrows: dict[tuple[str, str], bool], merged: dict[str, str]) -> dict[tuple[str, str], bool]:
    result: dict[tuple[str, str], bool] = {}
    for (source, target), cut in arrows.items():
        _add(result, [(merged.get(source, source), cut)], merged.get(target, target))
    return dict(sorted(result.items()))


def _shown(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names if not name.endswith(NOT_SHOWN)))


def _named(members: list[str]) -> str:
    """Return one name for the units of a box: "blocks 1-4", "upsamples, blocks", or the unit's own.

    >>> _named(["blocks.0", "blocks.1"]), _named(["upsamples.0", "blocks.0.0", "blocks.0.1"]), _named(["a.b"])
    ('blocks 1-2', 'upsamples, blocks', 'a.b')
    """
    stems = list(dict.fromkeys(".".join(w for w in member.split(".") if not w.isdigit()) for member in members))
    if len(stems) > 1 or (len(members) == 1 and not members[0].split(".")[-1].isdigit()):
        return ", ".join(stem or "(own weights)" for stem in stems)
    first, last = (int(next(w for w in member.split(".") if w.isdigit())) + 1 for member in (members[0], members[-1]))
    return f"{stems[0]} {first}-{last}" if last > first else f"{stems[0]} {first}"


def _class_name(module: nn.Module) -> str:
    return type(module).__name__.removeprefix("Parametrized")  # as torch calls a layer whose weight is computed


def _count(modules: list[nn.Module]) -> int:
    return sum(p.numel() for p in {id(p): p for module in modules for p in module.parameters()}.values())
