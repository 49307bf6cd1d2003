"""Pulses whose harmonics go together, noise beside them, and a network that only filters both."""

import math

import numpy as np
import pytest
import torch

from malsori.models.excitation import Excitation, ExcitationConfig
from malsori.models.vocos import Vocos, VocosConfig

RATE, HOP, BINS = 8000, 40, 65


@pytest.fixture(scope="module")
def excitation() -> Excitation:
    torch.manual_seed(0)
    return Excitation(ExcitationConfig(sample_rate=RATE, hidden_size=8, num_layers=1), 10, HOP).eval()


def steady(hz: float, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((1, frames), math.log(hz)), torch.ones(1, frames, dtype=torch.bool)


@pytest.mark.parametrize("hz", [61.0, 123.4, 500.0])
def test_pulses_are_all_harmonics_at_one_phase_and_one_size(excitation: Excitation, hz: float) -> None:
    found = excitation.pulses(*steady(hz, 50))[0].double()
    angle = 2 * math.pi * hz / RATE * torch.arange(1, 50 * HOP + 1, dtype=torch.float64)
    allowed = 0.45 * RATE / hz
    whole = int(allowed)
    wanted = sum((n * angle).cos() for n in range(1, whole + 1)) + (allowed - whole) * ((whole + 1) * angle).cos()
    torch.testing.assert_close(found, wanted * math.sqrt(2 / allowed), atol=1e-2, rtol=0.0)
    assert found.square().mean().item() == pytest.approx(1.0, abs=0.1)


def test_a_falling_pitch_brings_the_next_harmonic_in_without_a_click(excitation: Excitation) -> None:
    hz = torch.linspace(310.0, 290.0, 400)[None]  # 11 harmonics, and 12 from 300 Hz on; the next above at most at 3900
    found = excitation.pulses(hz.log(), torch.ones(1, 400, dtype=torch.bool))[0].numpy()
    spectra = np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(found, 256)[::64] * np.hanning(256)))
    assert spectra[:, 126:].max() < 0.01 * spectra.max()  # a click is broad


def test_an_unvoiced_frame_is_silent_and_a_voiced_one_goes_on_where_the_phase_has_come_to(
    excitation: Excitation,
) -> None:
    log_hz, voiced = steady(100.0, 60)
    whole = excitation.pulses(log_hz, voiced)
    voiced[0, 20:40] = False
    found = excitation.pulses(log_hz, voiced)
    assert not found[0, 21 * HOP : 39 * HOP].any()
    torch.testing.assert_close(found[0, 41 * HOP :], whole[0, 41 * HOP :])
    torch.testing.assert_close(found[0, : 19 * HOP], whole[0, : 19 * HOP])


def test_a_mels_excitation_is_the_same_each_time_and_in_a_batch(excitation: Excitation) -> None:
    mel = torch.randn(2, 900, 10, generator=torch.Generator().manual_seed(1))  # longer than the noise
    found = excitation(mel)
    assert found.shape == (2, 2, 900 * HOP) and torch.equal(found, excitation(mel))
    start = slice(0, 100 * HOP)  # the rounding of F0 adds up in the phase
    torch.testing.assert_close(found[1:, :, start], excitation(mel[1:])[..., start], atol=5e-3, rtol=0.0)
    assert torch.equal(found[0, 1], found[1, 1]) and found[0, 1].std().item() == pytest.approx(1.0, abs=0.05)


def test_what_is_given_in_training_has_other_noise_each_time(excitation: Excitation) -> None:
    first, second = (excitation.given(*steady(90.0, 12)) for _ in range(2))
    assert torch.equal(first[:, 0], second[:, 0]) and not torch.equal(first[:, 1], second[:, 1])


def network(gains: tuple[float, float], phase: float) -> Vocos:
    """A network that filters every bin of every frame alike."""
    config = VocosConfig(
        mel_channels=10, hidden_size=8, num_layers=1, fft_samples=128, hop_samples=HOP,
        excitation=ExcitationConfig(sample_rate=RATE, hidden_size=8, num_layers=1),
    )  # fmt: skip
    made = Vocos(config).eval()
    torch.nn.init.zeros_(made.head.weight)
    for part, value in enumerate((math.log(gains[0]), math.log(gains[1]), phase)):
        made.head.bias.data[part * BINS : (part + 1) * BINS] = value
    return made


def test_gains_of_one_give_back_pulses_and_noise_sample_for_sample() -> None:
    mel, source = torch.zeros(1, 30, 10), torch.randn(1, 2, 30 * HOP, generator=torch.Generator().manual_seed(0))
    for gains, wanted in (((1.0, 1e-9), source[:, 0]), ((1e-9, 0.5), 0.5 * source[:, 1])):
        torch.testing.assert_close(network(gains, 0.0).infer(mel, source).wave, wanted, atol=1e-5, rtol=1e-4)
    turned = network((1.0, 1e-9), math.pi).infer(mel, source).wave
    torch.testing.assert_close(turned, -source[:, 0], atol=1e-5, rtol=1e-4)


def test_without_an_excitation_a_network_makes_its_own() -> None:
    made, mel = network((1.0, 0.1), 0.3), torch.randn(1, 25, 10)
    torch.testing.assert_close(made.infer(mel).wave, made.infer(mel, made.excite(mel)).wave)
    assert Vocos(VocosConfig(hidden_size=8, num_layers=1)).excite(torch.zeros(1, 4, 80)) is None
