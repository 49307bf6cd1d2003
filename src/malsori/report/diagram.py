"""The schematic of how a system's losses are combined, drawn from the task that trains it (`malsori diagram`).

inputs ─► modules ─► outputs ─► losses ─► weights ─► turn ─► optimizer
          ● ●  the losses whose gradient reaches a module's weights; with a run, each gradient's norm
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import nn

from malsori.config import nearest
from malsori.errors import ConfigError
from malsori.files import atomic_file, read_json, write_text
from malsori.report.canvas import INK, PAPER, QUIET, Box, Curve, Dot, Label, Picture, Shape, fitted, text_width
from malsori.report.graph_layout import Arrangement, arrange
from malsori.report.terms import term
from malsori.report.trace import DiagramNode, TracedTurn, trace
from malsori.systems import SYSTEMS
from malsori.train.contributions import LossContribution
from malsori.train.optim import OptimizerConfig
from malsori.train.recipe import Recipe, read_recipe, recipe_names
from malsori.train.run_log import read_lines
from malsori.train.systems import build_task, parse_recipe

Language = Literal["en", "ko"]

#: Of losses, in their order: Okabe and Ito's colours, which the colour-blind tell apart, on white.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#7f3fbf", "#8c564b")
_FLOW, _CUT, _PANEL, _FAINT, _FROZEN = "#52606d", "#c1121f", "#f7f9fb", "#cbd2d9", "#eef1f4"
_MARGIN, _HEADER, _GAP, _SIDE = 28.0, 44.0, 26.0, 436.0


@dataclass(frozen=True)
class Schematic:
    """All that is drawn.

    Attributes:
        title: the system or the run.
        turns: traced from the task.
        weights: turn → loss → weight.
        optimizers: turn → settings.
        measured: (turn, loss) → the last measurement of a run; empty without one.
        step: of the measurement.
    """

    title: str
    turns: list[TracedTurn]
    weights: dict[str, dict[str, float]]
    optimizers: dict[str, OptimizerConfig]
    measured: dict[tuple[str, str], LossContribution] = field(default_factory=dict)
    step: int = 0


def schematic(name: str) -> Schematic:
    """Return the schematic of a system, a recipe, a saved model or a run; no corpus is needed.

    Args:
        name: a system or built-in recipe by name, a recipe's TOML file, or the folder of a run or a model.
    Raises: ConfigError if it is none of these.
    """
    run = Path(name)
    if (run / "recipe.json").is_file():
        recipe = parse_recipe(read_json(run / "recipe.json"), str(run / "recipe.json"))
        step, measured = last_contributions(run)
        title = f"{recipe.system}, {run.name}" + (f", step {step}" if step else "")
    elif name.endswith(".toml") or name in recipe_names():
        recipe, title, step, measured = parse_recipe(read_recipe(name), name), Path(name).stem, 0, {}
    else:
        recipe, step, measured = _recipe_of(_system_of(name)), 0, {}
        title = recipe.system
    task: Any = build_task(recipe)
    return Schematic(title, trace(task, task.example()), recipe.weights, recipe.optimizers, measured, step)


def schematic_of(task: nn.Module, weights: dict[str, dict[str, float]], title: str) -> Schematic:
    """Return the schematic of a task, with Adam's defaults where a recipe would say how to step."""
    turns = trace(task, task.example())  # type: ignore[operator]
    return Schematic(title, turns, weights, {turn.name: OptimizerConfig(learning_rate=1e-3) for turn in turns})


def last_contributions(run: Path) -> tuple[int, dict[tuple[str, str], LossContribution]]:
    """Return the step of a run's last measured contributions, and these by (turn, loss); 0 and {} if there are none."""
    entries = read_lines(run / "balance.jsonl")
    step = entries[-1]["step"] if entries else 0
    measured = {}
    for entry in (entry for entry in entries if entry["step"] == step):
        values = {name: entry[name] for name in ("value", "share", "gradient_norm", "modules")}
        measured[entry["turn"], entry["loss"]] = LossContribution(**values)
    return step, measured


def draw(what: Schematic, language: Language = "en") -> Picture:
    """Return the picture of a schematic."""
    panels = [_Panel(what, turn, language) for turn in what.turns]
    width = max(panel.width for panel in panels) + 2 * _MARGIN
    title = f"{what.title}: {term('how the losses are combined', language)}"
    shapes: list[Shape] = [Label((_MARGIN, 44), title, 21, bold=True, anchor="start")]
    y = 64.0
    for number, panel in enumerate(panels, start=1):
        shapes += panel.shapes(number, y, width - 2 * _MARGIN)
        y += panel.height + _GAP
    legend, right = _legend(y, language, bool(what.measured))
    return Picture(shapes + legend, max(width, right + _MARGIN), y + 52, title)


def markdown(what: Schematic, language: Language = "en") -> str:
    """Return the schematic as Markdown: a Mermaid graph a turn, and a table of what each loss reaches."""
    lines = [f"# {what.title}: {term('how the losses are combined', language)}"]
    for turn in what.turns:
        lines += ["", f"## {term('turn', language)}: {term(turn.name, language)}", "", "```mermaid", "flowchart LR"]
        keys = {key: f"n{number}" for number, key in enumerate([*turn.nodes, *(f"loss:{x.name}" for x in turn.losses)])}
        lines += [f'  {keys[key]}["{node.name}"]' for key, node in turn.nodes.items()]
        for loss in turn.losses:
            weight = what.weights.get(turn.name, {}).get(loss.name, 0.0)
            lines.append(f'  {keys[f"loss:{loss.name}"]}(["{loss.name}"]) -->|"× {weight:g}"| total["Σ {turn.name}"]')
        arrow = {"gradient": "-->", "cut": '-. "✂" .->', "data": "-.->"}
        lines += [f"  {keys[a]} {arrow[flow]} {keys[b]}" for (a, b), flow in turn.arrows.items()]
        lines += [f'  total --> step["{what.optimizers[turn.name].name}"]', "```", ""]
        lines += _table(what, turn, language)
    return "\n".join(lines) + "\n"


def save(what: Schematic, path: Path, language: Language = "en") -> None:
    """Write a schematic as .svg, .png or .md. Raises: ConfigError for another ending."""
    if path.suffix not in (".svg", ".png", ".md"):
        raise ConfigError(f"{path}: a diagram is written as .svg, .png or .md")
    if path.suffix == ".png":
        with atomic_file(path) as temporary:
            draw(what, language).save_png(temporary)
    else:
        text = markdown(what, language) if path.suffix == ".md" else draw(what, language).svg()
        write_text(path, text)


class _Panel:
    """One turn: boxes where the layout puts them, and the way from its losses to its optimizer."""

    def __init__(self, what: Schematic, turn: TracedTurn, language: Language) -> None:
        self.what, self.turn, self.language = what, turn, language
        self.colors = {loss.name: COLORS[index % len(COLORS)] for index, loss in enumerate(turn.losses)}
        self.losses = {f"loss:{loss.name}": loss for loss in turn.losses}
        sizes = {key: self._size(node) for key, node in turn.nodes.items()}
        sizes |= {key: (138.0, 58.0 if self._contribution(loss.name) else 44.0) for key, loss in self.losses.items()}
        self.sizes = sizes
        self.plan: Arrangement = arrange(sizes, list(turn.arrows), list(self.losses))
        self.width = self.plan.width + _SIDE + 2 * _GAP
        self.height = max(self.plan.height, 96.0) + _HEADER + 2 * _GAP

    def shapes(self, number: int, top: float, width: float) -> list[Shape]:
        """Return the turn's shapes below a height."""
        left, self.x, self.y = _MARGIN, _MARGIN + _GAP, top + _HEADER + _GAP
        self.y += max(0.0, 96.0 - self.plan.height) / 2
        name = f"{term('turn', self.language)} {number}: {term(self.turn.name, self.language)}"
        shapes: list[Shape] = [Box((left, top), (width, self.height), _PANEL, "#e4e7eb", radius=12)]
        shapes.append(Label((left + 18, top + 29), name, 15, bold=True, anchor="start"))
        for (start, end), flow in self.turn.arrows.items():
            shapes += self._arrow(start, end, flow)
        for key, node in self.turn.nodes.items():
            shapes += self._draw_node(self._corner(key), self.sizes[key], node)
        for key, loss in self.losses.items():
            shapes += self._loss(self._corner(key), self.sizes[key], loss.name, loss.against)
        return shapes + self._total()

    def _corner(self, key: str) -> tuple[float, float]:
        x, y = self.plan.corners[key]
        return x + self.x, y + self.y

    def _contribution(self, loss: str) -> LossContribution | None:
        return self.what.measured.get((self.turn.name, loss))

    def _size(self, node: DiagramNode) -> tuple[float, float]:
        shown = term(node.name, self.language)
        if node.kind == "input":
            return text_width(shown, 11.5) + 18, 24.0
        if node.kind == "output":
            return max(text_width(shown, 12) + 26, 96.0 if node.made_from else 74.0), 42.0 if node.made_from else 28.0
        rows = 0 if not node.losses else -(-len(node.losses) // 2) if self.what.measured else 1
        widest = max(text_width(shown, 13, True) + 24, text_width(_about(node, self.language), 10) + 16)
        narrowest = 128.0 if self.what.measured and len(node.losses) > 1 else 108.0
        return max(narrowest, min(196.0, widest)), 44.0 + 18.0 * rows

    def _arrow(self, start: str, end: str, flow: str) -> list[Shape]:
        points = tuple((x + self.x, y + self.y) for x, y in self.plan.routes[start, end])
        return _flowing(points, flow, self.colors[end.removeprefix("loss:")] if end in self.losses else _FLOW)

    def _draw_node(self, corner: tuple[float, float], size: tuple[float, float], node: DiagramNode) -> list[Shape]:
        (x, y), (width, _) = corner, size
        middle, shown = x + width / 2, term(node.name, self.language)
        if node.kind == "input":
            return [Box(corner, size, PAPER, _FAINT, radius=4), Label((middle, y + 16), shown, 11.5, QUIET)]
        if node.kind == "output":
            pill: list[Shape] = [Box(corner, size, PAPER, "#9aa5b1", radius=14), Label((middle, y + 18), shown, 12)]
            of = f"{term('of', self.language)} {term(node.made_from.removeprefix('batch.'), self.language)}"
            if node.made_from.startswith("batch."):
                of = term("of the recording", self.language)
            return [*pill, fitted(Label((middle, y + 33), of, 10, QUIET), width - 8)] if node.made_from else pill
        idle = node.state != "stepped"
        box = Box(corner, size, _FROZEN if idle else PAPER, QUIET if idle else INK, idle, tip=", ".join(node.units))
        title = Label((middle, y + 19), shown, 13, QUIET if idle else INK, bold=True)
        about = fitted(Label((middle, y + 35), _about(node, self.language), 10, QUIET), width - 8)
        return [box, fitted(title, width - 12), about, *self._reach(x, y + 50, width, node)]

    def _reach(self, x: float, y: float, width: float, node: DiagramNode) -> list[Shape]:
        """Return a dot for each loss that reaches a module, with its gradient's norm where a run has measured it."""
        shapes: list[Shape] = []
        for index, loss in enumerate(node.losses):
            contribution = self._contribution(loss)
            if self.what.measured:
                at = (x + 14 + index % 2 * (width / 2 - 4), y + index // 2 * 18)
                norms = [contribution.modules.get(unit, 0.0) for unit in node.units] if contribution else []
                norm = sum(value**2 for value in norms) ** 0.5
                shapes.append(Label((at[0] + 8, at[1] + 4), f"{norm:.2g}", 10.5, INK, anchor="start"))
            else:
                at = (x + width / 2 + (index - (len(node.losses) - 1) / 2) * 15, y)
            shapes.append(Dot(at, 5, self.colors[loss]))
        return shapes

    def _loss(
        self, corner: tuple[float, float], size: tuple[float, float], name: str, against: tuple[str, ...]
    ) -> list[Shape]:
        (x, y), (width, _) = corner, size
        middle, contribution = x + width / 2, self._contribution(name)
        targets = ", ".join(term(target, self.language) for target in against)
        below = f"{term('against', self.language)} {targets}" if targets else ""
        shown = Label((middle, y + (19 if below else 27)), term(name, self.language), 13, PAPER, bold=True)
        shapes: list[Shape] = [Box(corner, size, self.colors[name], self.colors[name]), fitted(shown, width - 12)]
        shapes.append(fitted(Label((middle, y + 35), below, 10, PAPER), width - 10))
        if contribution:
            shapes.append(Label((middle, y + 51), f"{contribution.value:.4g}", 12, PAPER, bold=True))
        return shapes

    def _total(self) -> list[Shape]:
        """Return the way from the losses over their weights to the turn's total and its optimizer."""
        right = self.x + self.plan.width
        middles = {key: self._corner(key)[1] + self.sizes[key][1] / 2 for key in self.losses}
        y = sum(middles.values()) / len(middles)
        config, shapes = self.what.optimizers[self.turn.name], list[Shape]()
        for key, loss in self.losses.items():
            color, contribution = self.colors[loss.name], self._contribution(loss.name)
            weight = self.what.weights.get(self.turn.name, {}).get(loss.name)
            pill = f"× {weight:g}" if weight is not None else "× ?"
            thick = 1.6 + 5 * contribution.share if contribution else 1.6
            shapes.append(Curve(((right, middles[key]), (right + 112, middles[key]), (right + 168, y)), color, thick))
            shapes += [Box((right + 22, middles[key] - 12), (82, 24), PAPER, color, radius=12)]
            text = f"{pill}  {contribution.share:.0%}" if contribution else pill
            shapes.append(fitted(Label((right + 63, middles[key] + 4.5), text, 12, color, bold=True), 76))
        total = term("total", self.language)
        shapes.append(Box((right + 168, y - 22), (84, 44), PAPER, INK, radius=22))
        shapes.append(Label((right + 210, y + 5), f"Σ {total}", 13, bold=True))
        shapes.append(Curve(((right + 252, y), (right + 288, y)), INK, 1.6))
        about = f"{term(config.schedule, self.language)} · {term('peak', self.language)} {config.learning_rate:g}"
        steps = f"{term('steps', self.language)}: {term(self.turn.optimized_module, self.language)}"
        if self.language == "ko":
            steps = f"{term(self.turn.optimized_module, 'ko')} {term('steps', 'ko')}"
        shapes.append(Box((right + 288, y - 34), (148, 68), PAPER, INK))
        shapes.append(Label((right + 362, y - 13), _OPTIMIZERS[config.name], 13, bold=True))
        lines = ((about, 4), (steps, 21))
        return shapes + [fitted(Label((right + 362, y + down), line, 10.5, QUIET), 138) for line, down in lines]


_OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD"}


def _flowing(points: tuple[tuple[float, float], ...], flow: str, color: str) -> list[Shape]:
    """Return an arrow as what comes back over it has it drawn: a gradient, a cut one, none."""
    if flow == "data":
        return [Curve(points, _FAINT, 1.2)]
    if flow == "gradient":
        return [Curve(points, color, 1.6)]
    x, y = points[-1]
    mark = [Curve(((x - 23 + d, y + 6), (x - 17 + d, y - 6)), _CUT, 2.0, head=False) for d in (0, 5)]
    return [Curve(points, _CUT, 1.3, dashed=True), *mark]


def _legend(y: float, language: Language, measured: bool) -> tuple[list[Shape], float]:
    """Return what dots, arrows and grey boxes mean, side by side, and where that ends."""
    dot = "gradient norm of the weighted loss in the module" if measured else "the loss's gradient reaches the module"
    arrows = {"gradient": "a gradient comes back", "cut": "cut: detach or no_grad", "data": "data only"}
    x, shapes = _MARGIN + 6, list[Shape]()
    for sign, text in {"dots": dot, **arrows, "idle": "not stepped in this turn, or without gradient"}.items():
        if sign == "dots":
            shapes += [Dot((x + 14, y + 16), 5, COLORS[0]), Dot((x + 30, y + 16), 5, COLORS[1])]
        elif sign == "idle":
            shapes.append(Box((x + 4, y + 7), (34, 18), _FROZEN, QUIET, dashed=True, radius=5))
        else:
            shapes += _flowing(((x, y + 16), (x + 40, y + 16)), sign, _FLOW)
        shown = term(text, language)
        shapes.append(Label((x + 50, y + 20), shown, 11.5, INK, anchor="start"))
        right = x + 50 + text_width(shown, 11.5)
        x = right + 26
    return shapes, right


def _table(what: Schematic, turn: TracedTurn, language: Language) -> list[str]:
    heads = ("loss", "weight", "share", "reaches")
    lines = ["| " + " | ".join(term(head, language) for head in heads) + " |", "|---|---|---|---|"]
    for loss in turn.losses:
        contribution = what.measured.get((turn.name, loss.name))
        weight = what.weights.get(turn.name, {}).get(loss.name, 0.0)
        reached = [node.name for node in turn.nodes.values() if loss.name in node.losses]
        share = f"{contribution.share:.1%}" if contribution else ""
        lines.append(f"| {loss.name} | {weight:g} | {share} | {', '.join(reached)} |")
    without = [node.name for node in turn.nodes.values() if node.state == "no gradient"]
    return [*lines, *(["", f"{term('no gradient', language)}: {', '.join(without)}"] if without else [])]


def drawable_systems() -> list[str]:
    """Return the systems that have a recipe, whose losses can be drawn by the system's name."""
    trained = {read_recipe(name).get("system") for name in recipe_names()}
    return [name for name in SYSTEMS if name in trained]


def _recipe_of(system: str) -> Recipe:
    """Return the plainest recipe of a system that comes with malsori: the one with the shortest name."""
    names = [name for name in recipe_names() if read_recipe(name).get("system") == system]
    if not names:
        raise ConfigError(f"system '{system}' has no recipe among: {', '.join(recipe_names())}")
    name = min(names, key=lambda name: (len(name), name))
    return parse_recipe(read_recipe(name), name)


def _system_of(name: str) -> str:
    """Return the system that a name means, or that a saved model's folder says it is."""
    for folder in (Path(name), Path(name) / "model"):
        if (folder / "config.json").is_file():
            name = str(read_json(folder / "config.json").get("system"))
    if name not in SYSTEMS:
        known = sorted({*SYSTEMS, *recipe_names()})
        raise ConfigError(f"'{name}' is no system, recipe, model or run folder.{nearest(name, known)}")
    return name


def _about(node: DiagramNode, language: Language) -> str:
    """Return the small line in a module's box."""
    return f"{node.made_from} · {_count(node.weights)}" if node.state == "stepped" else term(node.state, language)


def _count(weights: int) -> str:
    """Return a count of weights as people say it.

    >>> _count(647030), _count(1024), _count(12)
    ('0.65 M', '1.0 k', '12')
    """
    if weights >= 100_000:
        return f"{weights / 1e6:.2g} M" if weights < 1e7 else f"{weights / 1e6:.0f} M"
    return f"{weights / 1e3:.1f} k" if weights >= 1000 else str(weights)
