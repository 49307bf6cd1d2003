"""Both Tacotrons: they learn to read from left to right, end, say the same alone as in company; NVIDIA's files fit."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from malsori.config import AudioConfig
from malsori.errors import ModelError, OptionError
from malsori.losses.regression import l1_loss
from malsori.losses.sequence import attention_diagonality, guided_attention_loss, stop_loss
from malsori.models.tacotron import AttentionAcousticModel, Tacotron, TacotronConfig
from malsori.models.tacotron2 import Tacotron2, Tacotron2Config
from malsori.nn.recurrent import DecodingLimits
from malsori.pretrained.external import import_external
from malsori.pretrained.folder import ModelFacts, SavedModel, open_model, save_model
from malsori.shapes import length_mask
from malsori.text.symbols import PHONEMES
from malsori.tts.acoustic import TacotronAdapter
from malsori.tts.options import SayOptions
from malsori.tts.roles import SynthesisInput

ONE = TacotronConfig(
    vocab=13, speakers=2, mel_channels=10, embedding_size=24, prenet_sizes=(24, 16), hidden_size=16,
    num_encoder_banks=3,
    num_postnet_banks=2, postnet_hidden_size=16, num_highway_layers=1, decoder_rnn_size=32,
)  # fmt: skip
TWO = Tacotron2Config(
    vocab=13, speakers=2, mel_channels=10, hidden_size=32, num_encoder_layers=1, decoder_rnn_size=40, attention_size=16,
    location_filters=4, location_kernel_size=7, prenet_sizes=(24, 24), postnet_hidden_size=16, num_postnet_layers=3,
    dropout=0.1, reduction=2,
)  # fmt: skip
BOTH = pytest.mark.parametrize("build", [lambda: Tacotron(ONE), lambda: Tacotron2(TWO)], ids=["tacotron", "tacotron2"])
TOKENS, LENGTHS, SPEAKERS = (
    torch.tensor([[1, 5, 6, 7, 3, 2], [1, 9, 2, 0, 0, 0]]),
    torch.tensor([6, 3]),
    torch.tensor([0, 1]),
)
DURATIONS = torch.tensor([[4, 6, 4, 8, 4, 6], [4, 8, 6, 0, 0, 0]])


def recordings() -> tuple[Tensor, Tensor]:
    """Mels in which each token sounds as its own pattern for as long as it lasts, and their lengths."""
    patterns = torch.randn(13, 10, generator=torch.Generator().manual_seed(4)) * 2 - 5
    rows = [patterns[tokens].repeat_interleave(frames, dim=0) for tokens, frames in zip(TOKENS, DURATIONS, strict=True)]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), DURATIONS.sum(1)


@BOTH
def test_a_taught_batch_is_read_along_the_diagonal_and_spoken_to_its_end_and_no_further(build):
    torch.manual_seed(3)  # so short a lesson ends well from some starts only
    network: AttentionAcousticModel = build().train()
    mel, frames = recordings()
    mask = length_mask(frames)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)

    def step() -> tuple[float, float]:
        output = network(TOKENS, LENGTHS, SPEAKERS, mel, frames)
        attended = output.attention, output.step_lengths, LENGTHS
        guided = guided_attention_loss(*attended)
        distance = l1_loss(output.mel, mel, mask) + l1_loss(output.coarse, mel, mask)
        optimizer.zero_grad()
        (distance + stop_loss(output.stop, output.step_lengths, 3.0) + 10 * guided).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return guided.item(), attention_diagonality(*attended).item()

    measured = [step() for _ in range(100)]
    assert measured[-1][0] < 0.5 * measured[0][0], "guided attention takes mass off the diagonal"
    assert measured[-1][1] > max(0.8, measured[0][1])
    network.eval()
    said = network.infer(TOKENS, LENGTHS, SPEAKERS)
    assert ((said.frame_lengths - frames).abs() <= 8).all()
    durations = network.durations(said, LENGTHS)
    assert torch.equal(durations.sum(1), said.frame_lengths) and (durations[1, 3:] == 0).all()
    assert (said.mel[1, int(said.frame_lengths[1]) :] == 0).all()


@BOTH
@torch.no_grad()
def test_a_sentence_in_a_batch_sounds_as_it_does_alone_dropout_and_all(build):
    torch.manual_seed(0)
    network = build().eval()
    together, alone = network.infer(TOKENS, LENGTHS, SPEAKERS), network.infer(TOKENS[1:, :3], LENGTHS[1:], SPEAKERS[1:])
    frames = int(alone.frame_lengths[0])
    assert frames == int(together.frame_lengths[1]) and frames > 0
    torch.testing.assert_close(together.mel[1, :frames], alone.mel[0], atol=1e-5, rtol=1e-4)
    other = network.infer(TOKENS, LENGTHS, SPEAKERS, seed=1)
    assert other.mel.shape != together.mel.shape or not torch.allclose(other.mel, together.mel)
    swapped = network.infer(TOKENS, LENGTHS, SPEAKERS.flip(0))
    assert swapped.mel.shape != together.mel.shape or not torch.allclose(swapped.mel, together.mel)


@BOTH
def test_babble_is_bounded_by_the_text(build):
    network = build().eval()
    network.decoder.stop.weight.data.zero_()
    network.decoder.stop.bias.data.fill_(-50.0)
    limits = DecodingLimits(patience_frames=10**6, max_frames_per_token=9)
    assert network.infer(TOKENS, LENGTHS, SPEAKERS, limits).frame_lengths.tolist() == [54, 40]


@BOTH
def test_mels_are_standardized_inside_alone(build):
    network = build().eval()
    mel, frames = recordings()
    output = network(TOKENS, LENGTHS, SPEAKERS, mel, frames)
    config = network.config.model_copy(update={"mel_mean": 0.0, "mel_std": 1.0})
    network.config = config
    plain = network(TOKENS, LENGTHS, SPEAKERS, (mel + 5.0) / 2.5, frames)
    real = length_mask(frames)[..., None]
    torch.testing.assert_close(output.mel, (plain.mel * 2.5 - 5.0) * real, atol=1e-4, rtol=1e-4)


def saved_voice(config: TacotronConfig | Tacotron2Config, network: AttentionAcousticModel, system: str) -> SavedModel:
    audio = AudioConfig(mel_channels=config.mel_channels)
    facts = ModelFacts(
        system=system,
        model=config.model_dump(),
        audio=audio,
        audio_fingerprint=audio.fingerprint(),
        speakers=("a", "b"),
    )
    return SavedModel(facts, {"phonemes": PHONEMES}, network.eval())


@pytest.mark.parametrize("speed", [1.0, 2.0, 0.7])
def test_a_voice_of_it_speaks_at_a_speed_and_its_durations_sum_to_the_frames(speed, tmp_path: Path):
    torch.manual_seed(0)
    config = TWO.model_copy(update={"vocab": len(PHONEMES)})
    save_model(saved_voice(config, Tacotron2(config), "tacotron2"), tmp_path / "voice")
    voice = open_model(tmp_path / "voice")
    sentence = SynthesisInput(tuple(PHONEMES.decode([1, 20, 30, 21, 31, 2])), "")
    acoustic = TacotronAdapter(voice)
    plain, spoken = (acoustic.synthesize(sentence, SayOptions(speaker="b", speed=one)) for one in (1.0, speed))
    assert spoken.durations.shape == (6,) and plain.durations.min() > 0
    assert spoken.durations.sum() == len(spoken.mel) == pytest.approx(len(plain.mel) / speed, abs=0.51)
    assert np.isfinite(spoken.mel).all()


def test_an_energy_that_a_tacotron_cannot_change_is_refused():
    config = ONE.model_copy(update={"vocab": len(PHONEMES)})
    voice = saved_voice(config, Tacotron(config), "tacotron")
    with pytest.raises(OptionError, match="energy 2: a tacotron has no such control"):
        TacotronAdapter(voice).synthesize(SynthesisInput(("a",), ""), SayOptions(energy=2.0))


# NVIDIA's format


def nvidia_shapes(
    vocab: int, width: int, mels: int, hidden: int, attention: int, post: int
) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a state_dict of NVIDIA's Tacotron 2."""
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (vocab, width)}
    widths = {"encoder": [width] * 4, "postnet": [mels, post, post, post, post, mels]}
    for part, along in widths.items():
        for number, (before, after) in enumerate(pairwise(along)):
            name = f"{part}.convolutions.{number}"
            shapes |= {f"{name}.0.conv.weight": (after, before, 5), f"{name}.0.conv.bias": (after,)}
            shapes |= {f"{name}.1.{kind}": (after,) for kind in ("weight", "bias", "running_mean", "running_var")}
            shapes[f"{name}.1.num_batches_tracked"] = ()
    for way in ("", "_reverse"):
        shapes |= {
            f"encoder.lstm.weight_{kind}_l0{way}": (2 * width, size)
            for kind, size in (("ih", width), ("hh", width // 2))
        }
        shapes |= {f"encoder.lstm.bias_{kind}_l0{way}": (2 * width,) for kind in ("ih", "hh")}
    for cell, before in (("attention_rnn", 16 + width), ("decoder_rnn", hidden + width)):
        shapes |= {f"decoder.{cell}.weight_ih": (4 * hidden, before), f"decoder.{cell}.weight_hh": (4 * hidden, hidden)}
        shapes |= {f"decoder.{cell}.bias_{kind}": (4 * hidden,) for kind in ("ih", "hh")}
    layer = "decoder.attention_layer"
    return shapes | {
        "decoder.prenet.layers.0.linear_layer.weight": (16, mels),
        "decoder.prenet.layers.1.linear_layer.weight": (16, 16),
        f"{layer}.query_layer.linear_layer.weight": (attention, hidden),
        f"{layer}.memory_layer.linear_layer.weight": (attention, width),
        f"{layer}.v.linear_layer.weight": (1, attention),
        f"{layer}.location_layer.location_conv.conv.weight": (6, 2, 31),
        f"{layer}.location_layer.location_dense.linear_layer.weight": (attention, 6),
        "decoder.linear_projection.linear_layer.weight": (mels, hidden + width),
        "decoder.linear_projection.linear_layer.bias": (mels,),
        "decoder.gate_layer.linear_layer.weight": (1, hidden + width),
        "decoder.gate_layer.linear_layer.bias": (1,),
    }


def nvidia_weights() -> dict[str, Tensor]:
    torch.manual_seed(3)
    weights = {}
    for name, shape in nvidia_shapes(vocab=21, width=24, mels=12, hidden=28, attention=10, post=18).items():
        counts = name.endswith("num_batches_tracked")
        weights[name] = torch.tensor(7) if counts else torch.randn(shape) * 0.2 + name.endswith("running_var")
        if name.endswith("running_var"):
            weights[name] = weights[name].abs() + 0.1
    return weights


def nvidia_mel(weights: dict[str, Tensor], token_ids: Tensor, mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One sentence's mel, stop logits and attention under teacher forcing, written from what the names mean."""

    def of(name: str) -> Tensor:
        return weights[name]

    def normed(hidden: Tensor, name: str) -> Tensor:
        hidden = functional.conv1d(hidden, of(f"{name}.0.conv.weight"), of(f"{name}.0.conv.bias"), padding=2)
        kinds = [of(f"{name}.1.{kind}") for kind in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(hidden, *kinds)

    def cell(name: str, given: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        kinds = [of(f"decoder.{name}.{kind}") for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        return torch.lstm_cell(given, state, *kinds)

    hidden = functional.embedding(token_ids, of("embedding.weight"))[None].mT
    for number in range(3):
        hidden = normed(hidden, f"encoder.convolutions.{number}").relu()
    lstm = torch.nn.LSTM(24, 12, batch_first=True, bidirectional=True)
    lstm.load_state_dict(
        {name.removeprefix("encoder.lstm."): t for name, t in weights.items() if "encoder.lstm" in name}
    )
    memory = lstm(hidden.mT)[0]
    layer = "decoder.attention_layer"
    keys = memory @ of(f"{layer}.memory_layer.linear_layer.weight").T
    context, last, total = torch.zeros(1, 24), torch.zeros(1, len(token_ids)), torch.zeros(1, len(token_ids))
    first = second = (torch.zeros(1, 28), torch.zeros(1, 28))
    frames, stops, attention = [], [], []
    for frame in torch.cat([torch.zeros(1, 12), mel[:-1]]):
        for number in range(2):
            frame = (frame @ of(f"decoder.prenet.layers.{number}.linear_layer.weight").T).relu()
        first = cell("attention_rnn", torch.cat([frame[None], context], dim=-1), first)
        past = (
            functional.conv1d(
                torch.stack([last, total], dim=1), of(f"{layer}.location_layer.location_conv.conv.weight"), padding=15
            ).mT
            @ of(f"{layer}.location_layer.location_dense.linear_layer.weight").T
        )
        query = first[0] @ of(f"{layer}.query_layer.linear_layer.weight").T
        energies = torch.tanh(query[:, None] + past + keys) @ of(f"{layer}.v.linear_layer.weight").T
        last = energies[..., 0].softmax(-1)
        total = total + last
        context = (last[:, None] @ memory)[:, 0]
        second = cell("decoder_rnn", torch.cat([first[0], context], dim=-1), second)
        features = torch.cat([second[0], context], dim=-1)
        for kept, name in ((frames, "linear_projection"), (stops, "gate_layer")):
            kept.append(
                features @ of(f"decoder.{name}.linear_layer.weight").T + of(f"decoder.{name}.linear_layer.bias")
            )
        attention.append(last)
    coarse = torch.stack(frames, dim=1)
    hidden = coarse.mT
    for number in range(5):
        hidden = normed(hidden, f"postnet.convolutions.{number}")
        hidden = hidden.tanh() if number < 4 else hidden
    return coarse + hidden.mT, torch.stack(stops, dim=1)[..., 0], torch.stack(attention, dim=1)


@torch.no_grad()
def test_a_file_of_nvidia_s_format_gives_the_mels_that_its_names_mean(tmp_path: Path):
    weights = nvidia_weights()
    torch.save({"iteration": 5, "state_dict": {f"module.{k}": v for k, v in weights.items()}}, tmp_path / "taco.pt")
    model = import_external(tmp_path / "taco.pt", [])
    assert (model.facts.system, model.facts.audio.mel_channels, model.network.config.vocab) == ("tacotron2", 12, 21)
    save_model(model, tmp_path / "model")
    network = open_model(tmp_path / "model").network
    network.decoder.prenet.dropout = 0.0
    token_ids, mel = torch.randint(1, 21, (9,)), torch.randn(23, 12)
    wanted, stop, attention = nvidia_mel(weights, token_ids, mel)
    output = network(token_ids[None], torch.tensor([9]), torch.tensor([0]), mel[None], torch.tensor([23]))
    for found, right in ((output.mel, wanted), (output.stop, stop), (output.attention, attention)):
        torch.testing.assert_close(found, right, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_voice_of_nvidia_s_speaks_by_itself_as_its_program_does(tmp_path: Path):
    weights = nvidia_weights()
    weights["decoder.gate_layer.linear_layer.weight"] *= -1.0  # with these weights it rises, and would not otherwise
    weights["decoder.gate_layer.linear_layer.bias"] -= 9.0
    torch.save({"state_dict": weights}, tmp_path / "taco.pt")
    network = import_external(tmp_path / "taco.pt", []).network
    network.decoder.prenet.dropout = 0.0
    token_ids, asked = torch.randint(1, 21, (9,)), (torch.tensor([9]), torch.tensor([0]))
    said = network.infer(token_ids[None], *asked, network.config.limits.model_copy(update={"max_frames_per_token": 1}))
    wanted, stop, attention = nvidia_mel(weights, token_ids, said.coarse[0])
    for found, right in ((said.mel, wanted), (said.stop, stop), (said.attention, attention)):
        torch.testing.assert_close(found, right, atol=1e-4, rtol=1e-4)
    threshold = stop[0, 5:7].mean()
    network.decoder.stop.bias.data -= threshold
    ends = int((stop[0] > threshold).nonzero()[0]) + 1
    assert network.infer(token_ids[None], *asked).frame_lengths.tolist() == [ends] and 1 < ends < 9


def test_nvidia_s_mel_is_its_own_and_several_frames_a_step_are_refused(tmp_path: Path):
    weights = nvidia_weights()
    torch.save({"state_dict": weights}, tmp_path / "taco.pt")
    (tmp_path / "config.json").write_text('{"sampling_rate": 16000, "mel_fmax": null}', encoding="utf-8")
    audio = import_external(tmp_path / "taco.pt", []).facts.audio
    assert (audio.convention, audio.hop_samples, audio.max_hz) == ("tacotron2", 256, 8000.0)
    weights["decoder.prenet.layers.0.linear_layer.weight"] = torch.zeros(16, 24)
    torch.save({"state_dict": weights}, tmp_path / "taco.pt")
    with pytest.raises(ModelError, match="n_frames_per_step is 2; only 1 is known"):
        import_external(tmp_path / "taco.pt", [])


def test_nvidia_s_own_sizes_are_the_paper_s_and_older_files_that_count_no_batches_fit(tmp_path: Path):
    own = Tacotron2Config(vocab=148, mel_mean=0.0, mel_std=1.0)
    assert sum(p.numel() for p in Tacotron2(own).parameters()) == 28_193_153  # as NVIDIA's with its 148 symbols
    weights = {name: tensor for name, tensor in nvidia_weights().items() if "num_batches" not in name}
    torch.save({"state_dict": weights}, tmp_path / "taco.pt")
    assert import_external(tmp_path / "taco.pt", []).facts.system == "tacotron2"
    del weights["decoder.gate_layer.linear_layer.bias"]
    torch.save({"state_dict": weights}, tmp_path / "taco.pt")
    with pytest.raises(ModelError, match=r"'decoder\.gate_layer\.linear_layer\.bias' is missing"):
        import_external(tmp_path / "taco.pt", [])


def test_an_imported_voice_that_knows_no_phonemes_says_so(tmp_path: Path):
    torch.save({"state_dict": nvidia_weights()}, tmp_path / "taco.pt")
    with pytest.raises(ModelError, match="reads 21 symbols of its makers"):
        voice = TacotronAdapter(import_external(tmp_path / "taco.pt", []))
        voice.synthesize(SynthesisInput(("a",), ""), SayOptions())
