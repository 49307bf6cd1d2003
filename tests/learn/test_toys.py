"""The toys' JavaScript computes what the Python code computes. Run by node, where there is one."""

import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from malsori.audio.griffin_lim import griffin_lim
from malsori.audio.mel import log_mel
from malsori.audio.mel_filters import mel_filters
from malsori.decode.ctc import collapse
from malsori.learn import adversary, boards, combining, mel_board, truth
from malsori.learn.packing import packed, unpacked
from malsori.learn.voices import spoken
from malsori.losses.sequence import ctc_loss

TOYS = Path(boards.__file__).parent / "toys"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def computed(toy: str, expression: str, **given) -> object:
    """Return what an expression over a toy's functions (`toy`, `tools`) and given values comes to."""
    tools, script = (json.dumps(str(TOYS / name)) for name in ("board.js", f"{toy}.js"))
    program = (
        f"const tools = require({tools}), toy = require({script});"
        "const plain = (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value;"
        "let text = ''; process.stdin.on('data', (part) => { text += part; }).on('end', () => {"
        "const given = JSON.parse(text);"
        f"process.stdout.write(JSON.stringify({expression}, plain)); }});"
    )
    done = subprocess.run([NODE, "-e", program], input=json.dumps(given), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


# CTC, in Python: against every path, and against PyTorch's gradient


@pytest.fixture(scope="module")
def board() -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(3), size=5)


@pytest.mark.parametrize("targets", [[1], [1, 2], [1, 1], [2, 1, 2]])
def test_forward_and_backward_sums_are_those_of_all_paths(board, targets):
    every = boards.paths(targets, 5, 3)
    total = sum(math.prod(board[t, symbol] for t, symbol in enumerate(path)) for path in every)
    ahead, behind, probability = boards.forward_backward(board, targets)
    assert len(every) == boards.count_paths(targets, 5)
    assert probability == pytest.approx(total)
    assert (ahead * behind).sum(1) == pytest.approx([total] * 5)
    assert all(collapse(path, 0) == targets for path in every)


@pytest.mark.parametrize("targets", [[1], [1, 2], [1, 1]])
def test_the_gradient_is_that_of_the_loss_that_trains(board, targets):
    logits = torch.from_numpy(np.log(board)).requires_grad_()
    loss = ctc_loss(
        logits.log_softmax(-1)[None], torch.tensor([5]), torch.tensor([targets]), torch.tensor([len(targets)])
    )
    (expected,) = torch.autograd.grad(loss * len(targets), logits)
    np.testing.assert_allclose(boards.gradient(board, targets), expected.numpy(), atol=1e-9)


def test_the_real_board_holds_probabilities_and_its_word():
    symbols, real, word = boards.recorded_board()
    assert np.allclose(real.sum(1), 1, atol=1e-4) and len(symbols) == real.shape[1]
    assert 0 < boards.forward_backward(real, boards.targets_of(word, symbols))[2] < 1


# the same in JavaScript


@needs_node
def test_the_ctc_toy_computes_the_same(board):
    symbols, painted = boards.painted_board()
    for values, targets in ((board, [1, 2]), (board, [1, 1]), (painted, boards.targets_of("사랑해", symbols))):
        found = computed(
            "ctc",
            "{p: toy.forwardBackward(given.b, given.t).probability, g: toy.gradient(given.b, given.t), "
            "n: toy.countPaths(given.t, given.b.length), s: toy.step(given.b, given.t, 1), "
            "o: toy.paint(given.b, 1, 2, 1), a: toy.forwardBackward(given.b, given.t).ahead, "
            "z: toy.forwardBackward(given.b, given.t).behind}",
            b=values.tolist(),
            t=targets,
        )
        ahead, behind, probability = boards.forward_backward(values, targets)
        assert found["p"] == pytest.approx(probability)
        np.testing.assert_allclose(found["a"], ahead, rtol=1e-9)
        np.testing.assert_allclose(found["z"], behind, rtol=1e-9)
        assert found["n"] == boards.count_paths(targets, len(values))
        np.testing.assert_allclose(found["g"], boards.gradient(values, targets), atol=1e-12)
        after = (
            torch.from_numpy(np.log(np.maximum(values, 1e-6)) - boards.gradient(values, targets)).softmax(-1).numpy()
        )
        np.testing.assert_allclose(found["s"], after, atol=1e-9)
        assert boards.forward_backward(np.array(found["s"]), targets)[2] > found["p"]
        assert np.allclose(np.array(found["o"]).sum(1), 1) and found["o"][1][2] > values[1][2]
    path = computed("ctc", "toy.collapse([0,0,1,2,0,3,3,4,0,0])")
    assert "".join("_helo"[symbol] for symbol in path) == "helo"


@needs_node
@pytest.mark.slow
def test_the_mel_toy_computes_the_same_terms_and_changes():
    data, variants = mel_board.mel_toy(), mel_board.variants()
    found = computed(
        "mel",
        "(() => { const mel = tools.unpack(given.mel), of = (x) => toy.terms(x, mel, given.judge);"
        "return {same: of(mel), blur: of(toy.blurred(mel, 2)), late: of(toy.late(mel)), "
        "quiet: of(toy.quiet(mel))}; })()",
        **data,
    )
    for name, terms in found.items():
        assert terms == pytest.approx(mel_board.terms(variants[name]), abs=2e-4)
    assert (
        found["blur"]["l1"] < 1.2 * found["late"]["l1"]
        and found["blur"]["adversarial"] > 5 * found["late"]["adversarial"]
    )


@needs_node
@pytest.mark.slow
def test_the_toys_make_sound_as_python_does():
    audio, mel = spoken(mel_board.WORD).audio, mel_board.word_mel()[:24]
    found = computed(
        "mel",
        "{m: tools.melFilters(given.audio), s: tools.linearMagnitude(given.mel, given.audio), "
        "w: tools.griffinLim(given.mel, given.audio, 30)}",
        audio=mel_board.audio_settings(audio),
        mel=mel.tolist(),
    )
    np.testing.assert_allclose(found["m"], mel_filters(audio), atol=1e-7)
    spread = mel_board.spread(mel)
    np.testing.assert_allclose(found["s"], spread, atol=2e-3 * spread.max())
    waves = torch.tensor([found["w"]]), griffin_lim(mel[None], audio, iterations=30)
    errors = [(log_mel(wave, audio)[0] - mel).abs().mean().item() for wave in waves]
    assert waves[0].shape == waves[1].shape and errors[0] < 1.2 * errors[1] + 0.02


@needs_node
@pytest.mark.slow
def test_the_shift_toy_teaches_the_same_voice():
    data = truth.truth_toy()
    found = computed(
        "shift",
        "[0, 3, -3, 6].map((shift) => { const heard = given.sentences.map(toy.opened), word = toy.opened(given.word);"
        "const both = toy.said(heard, word, shift, given.parts); return toy.l1(both.ours, both.theirs); })",
        **{name: data[name] for name in ("sentences", "word", "parts")},
    )
    assert found == pytest.approx([truth.shift_error(shift) for shift in (0, 3, -3, 6)], abs=1e-4)
    assert found[0] < found[1] < found[3] and found[0] < found[2]


@needs_node
def test_the_gan_toy_plays_the_same_game():
    found = computed(
        "gan",
        "(() => { const game = new toy.Game(given), log = []; for (let i = 0; i < 40; i++) {"
        "game.turn('judge'); game.turn('generator');"
        "log.push({...game.losses(), shift: game.shift, scale: game.scale}); } return log; })()",
        **adversary.gan_toy(),
    )
    _, log = adversary.played(40)
    for ours, theirs in zip(found, log, strict=True):
        assert ours == pytest.approx(theirs, abs=2e-3)


def test_a_game_in_turns_finds_what_is_real_and_the_generator_alone_stays():
    game, _ = adversary.played(100)
    assert game.generator.tolist() == pytest.approx([1.0, 0.4], abs=0.1)
    assert game.losses()["generator"].item() == pytest.approx(0.25, abs=0.02)
    assert adversary.played(20, judge_steps=0)[0].generator.tolist() == pytest.approx(list(adversary.START))


@needs_node
def test_the_losses_toy_shares_as_the_measurement_does():
    for system in ("hifigan", "fastspeech2"):
        for losses in combining.contributions(system).values():
            values, weights = ({name: one[key] for name, one in losses.items()} for key in ("value", "weight"))
            found = computed(
                "losses", "toy.shares(given.v, given.w)", v=list(values.values()), w=list(weights.values())
            )
            assert found == pytest.approx([one["share"] for one in losses.values()])
            assert found == pytest.approx(list(combining.shares(values, weights).values()))
    assert computed("losses", "toy.weightAt(toy.placeOf(45))") == pytest.approx(45)


def test_packing_keeps_a_matrix_to_a_step():
    values = np.random.default_rng(0).uniform(-12, 3, (4, 5)).astype(np.float32)
    assert np.abs(unpacked(packed(values, -12.0, 3.0)) - values).max() < 15 / 65535
