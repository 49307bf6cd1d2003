"""Systems at the width of their papers, weights drawn at random: graphs beside PyTorch."""

from typing import Any

import numpy as np
import pytest
import torch

from malsori.export import recognizers, voices
from malsori.models.hifigan import Hifigan, HifiganConfig
from malsori.models.vits import Vits, VitsConfig
from malsori.models.wav2vec2 import Wav2Vec2, Wav2Vec2Config

from . import small
from .test_graphs import opened

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

pytestmark = pytest.mark.slow
CLOSE = {"atol": 1e-3, "rtol": 1e-3}


def test_hifigan_v1_gives_its_wave():
    network = small.placed(Hifigan(HifiganConfig()))
    mel = torch.randn(1, 40, 80)
    (found,) = opened(voices.hifigan_graphs(network)["vocoder"])(mel=mel)
    np.testing.assert_allclose(found, network.infer(mel).wave.numpy(), **CLOSE)


def test_wav2vec2_base_gives_its_log_probabilities():
    network = small.placed(Wav2Vec2(Wav2Vec2Config()))
    wave = torch.randn(1, 24_000)
    (found,) = opened(recognizers.wav2vec2_graphs(network)["encoder"])(wave=wave)
    with torch.inference_mode():
        wanted = network(wave, torch.tensor([24_000])).logits.log_softmax(-1).numpy()
    np.testing.assert_allclose(found, wanted, **CLOSE)


def test_vits_gives_its_wave_for_the_same_noise():
    network: Any = small.placed(Vits(VitsConfig()))
    graphs, ids, speaker = voices.vits_graphs(network), torch.randint(1, 40, (1, 25)), torch.tensor([0])
    drawn = torch.zeros(1, 2, 25)
    found = opened(graphs["plan"])(token_ids=ids, speaker=speaker, speed=np.float32(1.0), duration_noise=drawn)
    with torch.inference_mode():
        wanted = network.plan(ids, torch.ones_like(ids, dtype=torch.bool), drawn, network.speaker_vectors(speaker), 1.0)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other.numpy(), **CLOSE)
        mean, log_std, durations = wanted
        noise = 0.667 * torch.randn(1, mean.shape[2], int(durations.sum()))
        wave = network.sound(mean, log_std, durations, noise, network.speaker_vectors(speaker)).numpy()
    given = {"mean": mean, "log_std": log_std, "durations": durations, "noise": noise, "speaker": speaker}
    np.testing.assert_allclose(opened(graphs["sound"])(**given)[0], wave, **CLOSE)
