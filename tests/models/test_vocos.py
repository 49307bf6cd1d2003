"""Vocos: the inverse STFT undoes the STFT that the mel is made of, sample for sample."""

import pytest
import torch
from torch import Tensor, nn

from malsori.audio.mel import spectrogram
from malsori.config import AudioConfig
from malsori.models.hifigan import DiscriminatorConfig
from malsori.models.vocos import MultiResolutionDiscriminatorConfig, Vocos, VocosConfig, VocosDiscriminators

AUDIOS = [
    AudioConfig(),
    AudioConfig(sample_rate=8000, fft_samples=64, window_samples=64, hop_samples=16, mel_channels=10, max_hz=4000.0),
]


class Planted(nn.Module):
    """A head that always says the same."""

    def __init__(self, said: Tensor) -> None:
        super().__init__()
        self.said = said

    def forward(self, _hidden: Tensor) -> Tensor:
        return self.said


def complex_spectrum(wave: Tensor, audio: AudioConfig) -> Tensor:
    """The frames of `audio.mel.spectrogram` before their phase is thrown away (batch, frames, bins)."""
    padding = (audio.fft_samples - audio.hop_samples) // 2
    padded = torch.nn.functional.pad(wave[:, None], (padding, padding), mode="reflect")[:, 0]
    pieces = padded.unfold(1, audio.fft_samples, audio.hop_samples) * torch.hann_window(audio.fft_samples)
    return torch.fft.rfft(pieces)


@pytest.mark.parametrize("audio", AUDIOS)
def test_the_true_spectrum_gives_the_wave_back(audio: AudioConfig) -> None:
    wave = 0.3 * torch.randn(2, 30 * audio.hop_samples, generator=torch.Generator().manual_seed(0))
    spectrum = complex_spectrum(wave, audio)
    torch.testing.assert_close(spectrum.abs(), spectrogram(wave, audio), atol=1e-3, rtol=1e-3)
    network = Vocos(
        VocosConfig(
            mel_channels=audio.mel_channels,
            hidden_size=8,
            num_layers=1,
            fft_samples=audio.fft_samples,
            hop_samples=audio.hop_samples,
        )
    )
    network.head = Planted(torch.cat([spectrum.abs().log(), spectrum.angle()], dim=-1))
    found = network(torch.zeros(2, 30, audio.mel_channels)).wave
    torch.testing.assert_close(found, wave, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_a_wave_has_a_hop_of_samples_for_each_frame(frames: int) -> None:
    network = Vocos(VocosConfig(mel_channels=10, hidden_size=8, num_layers=1, fft_samples=64, hop_samples=16)).eval()
    wave = network.infer(torch.randn(3, frames, 10)).wave
    assert wave.shape == (3, frames * 16) and wave.isfinite().all()


def test_a_wild_magnitude_is_held_down() -> None:
    network = Vocos(VocosConfig(mel_channels=10, hidden_size=8, num_layers=1, fft_samples=64, hop_samples=16))
    network.head = Planted(torch.full((1, 5, 66), 200.0))  # exp(200) is beyond float32
    assert network(torch.zeros(1, 5, 10)).wave.isfinite().all()


def test_the_default_generator_has_the_papers_size() -> None:
    with torch.device("meta"):
        network = Vocos(VocosConfig())
    assert sum(value.numel() for value in network.parameters()) / 1e6 == pytest.approx(13.5, abs=0.3)


def test_discriminators_judge_waves_and_spectrograms_each_by_itself() -> None:
    torch.manual_seed(0)
    network = VocosDiscriminators(
        DiscriminatorConfig(periods=(2, 3), scales=1, width=1 / 16),
        MultiResolutionDiscriminatorConfig(fft_samples=(64, 32), channels=4),
    ).eval()
    waves = torch.randn(2, 640, generator=torch.Generator().manual_seed(1))
    together, alone = network(waves), network(waves[1:])
    assert len(together.scores) == len(together.feature_maps) == 2 + 1 + 2
    for wanted, found in zip(together.scores, alone.scores, strict=True):
        torch.testing.assert_close(found[0], wanted[1], atol=1e-5, rtol=1e-4)
    torch.stack([score.mean() for score in together.scores]).sum().backward()
    assert all(value.grad is not None and value.grad.any() for value in network.parameters())
