"""The schematic is what the autograd graph says: reach, cuts, idle modules; and the pictures in docs are drawn anew."""

import json
import os
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from malsori.cli import run as command
from malsori.losses.distribution import sampled_kl_loss
from malsori.losses.regression import l1_loss, l2_loss
from malsori.report.canvas import Box, Curve, Label, fitted, text_width
from malsori.report.diagram import draw, last_contributions, markdown, save, schematic, schematic_of
from malsori.report.graph_layout import arrange
from malsori.report.trace import trace
from malsori.systems import SYSTEMS
from malsori.train.contributions import units
from malsori.train.recipe import read_recipe
from malsori.train.systems import build_task, parse_recipe
from malsori.train.tasks import Turn, frozen

DOCS = Path(__file__).parents[2] / "docs" / "diagrams"


@dataclass(frozen=True)
class Batch:
    """Text, mel and wave."""

    text: torch.Tensor
    mel: torch.Tensor
    wave: torch.Tensor


@dataclass(frozen=True)
class Output:
    """What the small VITS says."""

    wave: torch.Tensor
    latent: torch.Tensor
    prior: torch.Tensor
    log_durations: torch.Tensor


class SmallVits(nn.Module):
    """VITS in outline: the duration predictor listens to the text encoder through a detach."""

    def __init__(self):
        super().__init__()
        self.text_encoder, self.posterior_encoder = nn.Linear(4, 6), nn.Linear(5, 6)
        self.flow = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))
        self.decoder, self.duration_predictor = nn.Sequential(nn.Linear(6, 2), nn.Tanh()), nn.Linear(6, 1)
        self.forgotten = nn.Linear(3, 3)

    def forward(self, text, mel):
        prior, posterior = self.text_encoder(text), self.posterior_encoder(mel)
        latent = posterior
        for layer in self.flow:
            latent = layer(latent)
        durations = self.duration_predictor(prior.detach())[..., 0]
        return Output(self.decoder(posterior).flatten(1), latent, prior, durations)


class SmallVitsTask(nn.Module):
    """Two turns, as in training."""

    def __init__(self, extra: bool = False):
        super().__init__()
        self.generator, self.judge, self.extra = SmallVits(), nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 1)), extra

    def optimized_modules(self):
        return {"discriminator": self.judge, "generator": self.generator}

    def exported_model(self):
        return self.generator

    def example(self):
        torch.manual_seed(0)
        return Batch(torch.randn(2, 3, 4), torch.randn(2, 3, 5), torch.randn(2, 6))

    def losses(self, batch):
        output = self.generator(batch.text, batch.mel)
        yield Turn("discriminator", {"adversarial": self.judge(output.wave.detach()).square().mean()})
        with frozen(self.judge):
            zeros = torch.zeros_like(output.latent)
            losses = {
                "mel": l1_loss(output.wave, batch.wave),
                "kl": sampled_kl_loss(output.latent, zeros, output.prior, zeros),
                "duration": l2_loss(output.log_durations, batch.text.sum(-1)),
                "adversarial": (self.judge(output.wave) - 1).square().mean(),
            }
            if self.extra:
                with torch.no_grad():
                    wanted = self.judge(batch.wave)
                losses["features"] = (self.judge(output.wave) - wanted).abs().mean()
            yield Turn("generator", losses)


def traced(task):
    return {turn.name: turn for turn in trace(task, task.example())}


def reach(turn):
    return {node.name: set(node.losses) for node in turn.nodes.values() if node.kind == "module"}


def test_the_picture_of_vits_says_which_losses_reach_the_text_encoder():
    turn = traced(SmallVitsTask())["generator"]
    assert reach(turn) == {
        "text_encoder": {"kl"},
        "posterior_encoder": {"mel", "kl", "adversarial"},
        "flow 1-3": {"kl"},
        "decoder": {"mel", "adversarial"},
        "duration_predictor": {"duration"},
        "forgotten": set(),
        "judge": set(),
    }
    assert turn.arrows["module:text_encoder", "module:duration_predictor"] == "cut"
    assert turn.arrows["module:text_encoder", "output:generator|prior|batch.mel"] == "gradient"
    assert turn.nodes["module:forgotten"].state == "no gradient"
    assert turn.nodes["part:judge"].state == "frozen"
    assert {loss.name: loss.against for loss in turn.losses} == {
        "mel": ("wave",), "kl": (), "duration": ("text",), "adversarial": (),
    }  # fmt: skip


def test_the_discriminators_turn_shows_the_generator_behind_a_cut():
    turn = traced(SmallVitsTask())["discriminator"]
    assert turn.nodes["part:generator"].state == "frozen"
    (cut,) = [pair for pair, flow in turn.arrows.items() if flow == "cut"]
    assert cut[0].startswith("output:generator|wave") and cut[1] in ("module:0", "module:0.")
    assert turn.arrows["part:generator", cut[0]] == "data"


def test_a_loss_added_to_a_task_appears_and_a_forgotten_module_is_drawn_as_such():
    weights = {"discriminator": {"adversarial": 1.0}, "generator": {"mel": 45.0, "kl": 1.0, "duration": 1.0}}
    plain = draw(schematic_of(SmallVitsTask(), weights, "vits")).svg()
    more = draw(schematic_of(SmallVitsTask(extra=True), weights, "vits")).svg()
    assert ">features<" not in plain and ">features<" in more
    assert ">forgotten<" in plain and ">no gradient<" in plain and "× 45" in plain


def test_what_runs_without_recording_is_cut():
    turn = traced(SmallVitsTask(extra=True))["generator"]
    assert turn.arrows["part:judge", "loss:features"] == "gradient"  # one of the two ways is open
    assert reach(turn)["decoder"] == {"mel", "adversarial", "features"}


def test_tracing_leaves_weights_gradients_and_hooks_as_they_were():
    task = SmallVitsTask()
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    trace(task, task.example())
    assert all(torch.equal(before[name], tensor) for name, tensor in task.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in task.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in task.modules())


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_the_drawn_reach_is_that_of_autograd_itself(system):
    """Beside the trace: a backward pass of each loss, and which weights of which unit have a gradient then."""
    task = build_task(parse_recipe(read_recipe(f"{system}-small"), system))
    batch = task.example()
    drawn = traced(task)
    for turn in task.losses(batch):
        part = task.optimized_modules()[turn.name]
        expected = {name: set() for name, unit in units(part).items() if any(True for _ in unit.parameters())}
        for loss, value in turn.losses.items():
            part.zero_grad(set_to_none=True)
            value.backward(retain_graph=True)
            for name in expected:
                parameters = units(part)[name].parameters(recurse=name != "")
                expected[name] |= {loss} if any(p.grad is not None for p in parameters) else set()
        nodes = [node for node in drawn[turn.name].nodes.values() if node.units]
        assert {unit: set(node.losses) for node in nodes for unit in node.units} == expected
        assert [loss.name for loss in drawn[turn.name].losses] == list(turn.losses)


@cache
def of_the_paper(system):
    """Return a system's schematic at the paper's sizes, which takes seconds to trace."""
    return schematic(system)


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_the_pictures_in_docs_are_those_the_code_draws(system, language):
    what = of_the_paper(system)
    picture = draw(what, language).svg()
    path = DOCS / (f"{system}.svg" if language == "en" else f"{system}.ko.svg")
    if os.environ.get("MALSORI_REDRAW"):
        save(what, path, language)
    redraw = "draw it: MALSORI_REDRAW=1 python -m pytest tests/report/test_diagram.py"
    assert path.is_file() and path.read_text(encoding="utf-8") == picture, (
        f"{path.name} is not what the code says; {redraw}"
    )


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_a_picture_names_every_turn_and_loss_and_lets_no_boxes_overlap(system):
    what = of_the_paper(system)
    picture = draw(what)
    ElementTree.fromstring(picture.svg())
    texts = [shape.text for shape in picture.shapes if isinstance(shape, Label)]
    for turn in what.turns:
        assert any(turn.name in text for text in texts)
        for loss in turn.losses:
            assert loss.name.replace("_", " ") in texts
    boxes = [shape for shape in picture.shapes if isinstance(shape, Box) and shape.radius != 12]
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            (x, y), (width, height) = one.corner, one.size
            (u, v), (wide, high) = other.corner, other.size
            assert x + width <= u or u + wide <= x or y + height <= v or v + high <= y, (one, other)
    for shape in picture.shapes:
        if isinstance(shape, Curve) and shape.head:
            assert shape.points[0][0] < shape.points[-1][0]
    hangul = [text for text in (s.text for s in draw(what, "ko").shapes if isinstance(s, Label)) if text > "가"]
    assert len(hangul) > 8


def test_a_runs_folder_adds_what_was_measured(tmp_path):
    recipe = parse_recipe(read_recipe("conformer"), "conformer")
    (tmp_path / "recipe.json").write_text(json.dumps(recipe.model_dump(mode="json")))
    entries = [
        {"step": step, "turn": "recognizer", "loss": loss, "value": 1.25 * step, "share": share, "gradient_norm": 5.0,
         "modules": {"subsampling": 0.5, "blocks.0": 3.0, "blocks.1": 4.0}}
        for step in (500, 1000) for loss, share in (("jamo_ctc", 0.75), ("phoneme_ctc", 0.25))
    ]  # fmt: skip
    (tmp_path / "balance.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries) + '{"torn')
    step, measured = last_contributions(tmp_path)
    assert step == 1000 and measured["recognizer", "jamo_ctc"].value == 1250
    what = schematic(str(tmp_path))
    texts = [shape.text for shape in draw(what).shapes if isinstance(shape, Label)]
    assert "1250" in texts and "× 0.6  75%" in texts and texts.count("5") == 2  # root of 3² + 4² over the first blocks
    assert "step 1000" in what.title and "| 75.0% |" in markdown(what)


def test_markdown_holds_a_graph_and_a_table():
    text = markdown(schematic_of(SmallVitsTask(), {"generator": {"kl": 1.0}}, "vits"))
    assert text.count("```mermaid") == 2 and '-. "✂" .->' in text
    assert "| kl | 1 |  | flow 1-3, posterior_encoder, text_encoder |" in text and "no gradient: forgotten" in text


def test_the_command_writes_each_kind_and_refuses_others(tmp_path, capsys):
    for ending in (".svg", ".png", ".md"):
        assert command(["diagram", "fastspeech2", "-o", str(tmp_path / f"a{ending}"), "--language", "ko"]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG") and "손실" in (tmp_path / "a.svg").read_text(
        "utf-8"
    )
    assert command(["diagram", "fastspeech2", "-o", str(tmp_path / "a.gif")]) == 2
    assert command(["diagram", "fastspech2"]) == 2
    assert "Did you mean 'fastspeech2" in capsys.readouterr().err


def test_layers_go_from_left_to_right_and_the_losses_stand_last():
    sizes = {key: (50.0, 20.0) for key in ("a", "b", "c", "x", "y")}
    plan = arrange(sizes, [("a", "b"), ("b", "c"), ("a", "x"), ("c", "y")], ["x", "y"])
    lefts = {key: corner[0] for key, corner in plan.corners.items()}
    assert lefts["a"] < lefts["b"] < lefts["c"] < lefts["y"] == lefts["x"]
    assert plan.routes["a", "x"][0][0] == lefts["a"] + 50 and len(plan.routes["a", "x"]) == 6


def test_text_is_made_to_fit():
    long = Label((0, 0), "가나다라마바사아자차카타파하" * 3, 12)
    assert text_width(fitted(long, 80).text, fitted(long, 80).size) <= 80
    assert fitted(Label((0, 0), "ab", 12), 80).text == "ab"
