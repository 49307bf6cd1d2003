"""A Whisper's encoder teaches another: which of its states belong to a frame, what is learnt, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from malsori.config import WHISPER_AUDIO
from malsori.corpus.batches import load_example
from malsori.errors import ConfigError
from malsori.models.wav2vec2 import EncoderConfig, Wav2Vec2Encoder
from malsori.models.whisper import Whisper, WhisperConfig
from malsori.train.encoder_teacher import EncoderTeacher, open_teacher

AUDIO = WHISPER_AUDIO
PUPIL = EncoderConfig(
    conv_channels=(4,) * 9, conv_kernel_sizes=(10, 3, 3, 3, 3, 3, 3, 5, 5), conv_strides=(5, 2, 2, 2, 2, 2, 2, 1, 1),
    hidden_size=8, num_layers=1, num_heads=2, ffn_size=8, position_kernel_size=4, position_groups=2, norm="layer",
)  # fmt: skip


def whisper() -> Whisper:
    torch.manual_seed(0)
    sides = {"num_encoder_layers": 2, "num_encoder_heads": 2, "num_decoder_layers": 1, "num_decoder_heads": 2}
    sizes = {"hidden_size": 16, "encoder_ffn_size": 32, "decoder_ffn_size": 32}
    return Whisper(WhisperConfig(vocab=20, encoder_positions=200, decoder_positions=8, **sides, **sizes))


@pytest.fixture(scope="module")
def teacher() -> EncoderTeacher:
    return EncoderTeacher(whisper(), AUDIO, PUPIL)


def test_a_frame_is_taught_the_state_at_its_center() -> None:
    teacher = EncoderTeacher(whisper(), WHISPER_AUDIO, PUPIL)
    teacher.window = SimpleNamespace(states=lambda mel: mel[:, ::2])  # the sound itself, every 20 ms
    quiet, loud = (torch.randn(1, 16000, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    loud[:, 8000:8320] += 20 * torch.randn(1, 320)
    encoders = [Wav2Vec2Encoder(PUPIL).eval() for _ in range(16)]
    frames = PUPIL.frames(16000)
    taught = (teacher.states(loud, frames) - teacher.states(quiet, frames)).abs().sum(-1)[0]
    with torch.no_grad():
        heard = sum((each(loud).latent - each(quiet).latent).abs().sum(-1)[0] for each in encoders)
    centers = [(each * torch.arange(frames)).sum() / each.sum() for each in (taught, heard)]
    assert abs(centers[0] - centers[1]) < 0.6  # of a frame
    assert teacher.begin == round((PUPIL.receptive_field_samples - 1) / 2 / 320) == 5


def test_a_recording_is_heard_once_whatever_it_is_batched_with(teacher: EncoderTeacher, monkeypatch) -> None:
    waves, lengths = torch.randn(3, 16000), torch.tensor([40, 40, 20])
    waves[2, 7500:] = 0.0
    hidden = torch.randn(3, 40, 8)
    first = teacher(waves, ["a", "b", "c"], hidden, lengths)
    asked: list[int] = []
    kept = teacher.states
    monkeypatch.setattr(teacher, "states", lambda wave, frames: asked.append(len(wave)) or kept(wave, frames))
    assert teacher(waves, ["a", "b", "c"], hidden, lengths).item() == pytest.approx(first.item(), abs=1e-6)
    alone = [teacher(waves[row : row + 1], [name], hidden[row : row + 1], lengths[row : row + 1]) for row, name in
             enumerate("abc")]  # fmt: skip
    assert (alone[0] * 40 + alone[1] * 40 + alone[2] * 20).item() / 100 == pytest.approx(first.item(), abs=1e-5)
    assert not asked
    teacher(waves, ["a", "d", "c"], hidden, torch.tensor([40, 40, 19]))  # another recording, and another speed
    assert asked == [2]


def test_a_pupil_learns_what_the_teacher_hears_and_the_projection_is_not_shipped(small_setup, monkeypatch) -> None:
    monkeypatch.setattr(
        "malsori.train.wav2vec2.open_teacher", lambda name, pupil: EncoderTeacher(whisper(), AUDIO, pupil)
    )
    setup = small_setup("teacher=any", "weights.recognizer={ctc=0.0,states=1.0}", name="wav2vec2-small")
    task = setup.task
    module = task.optimized_modules()["recognizer"]
    assert {name.split(".")[0] for name, _ in module.named_parameters()} == {"encoder", "head", "teacher"}
    assert not [name for name in task.exported_model().state_dict() if "teacher" in name]
    examples = [load_example(setup.corpus, setup.cuts["train"][name]) for name in ("u0", "u1")]
    batch = setup.collators["train"](examples, np.random.default_rng(0))
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss = next(task.losses(batch)).losses["states"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert not any(weight.requires_grad for weight in task.teacher._held[0].parameters())


def test_who_cannot_teach_is_refused() -> None:
    with pytest.raises(ConfigError, match="is a conformer; a whisper can teach"):
        open_teacher("conformer-ko", PUPIL)
    short = PUPIL.model_copy(update={"conv_strides": (5, 2, 2, 2, 2, 2, 1, 1, 1)})
    with pytest.raises(ConfigError, match="its steps are of 320 samples, model's frames of 160"):
        EncoderTeacher(whisper(), AUDIO, short)
