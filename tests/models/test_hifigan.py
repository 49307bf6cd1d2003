"""HiFi-GAN: the paper's sizes, a public implementation's numbers, discriminators of any width."""

import math
from collections.abc import Iterator

import pytest
import torch

from malsori.models.excitation import ExcitationConfig
from malsori.models.hifigan import DiscriminatorConfig, Discriminators, Hifigan, HifiganConfig
from malsori.models.vits import VitsConfig, VitsDecoder

CONVOLUTIONS = torch.nn.Conv1d | torch.nn.ConvTranspose1d

#: Table 5 of the paper.
V1 = HifiganConfig()
V2 = HifiganConfig(channels=128)
V3 = HifiganConfig(
    channels=256,
    upsample_rates=(8, 8, 4),
    upsample_kernel_sizes=(16, 16, 8),
    resblock_kernel_sizes=(3, 5, 7),
    resblock_dilations=((1, 2), (2, 6), (3, 12)),
    resblock_convolutions=1,
)
TINY = HifiganConfig(
    mel_channels=10,
    channels=32,
    upsample_rates=(4, 2, 2),
    upsample_kernel_sizes=(8, 4, 4),
    resblock_kernel_sizes=(3, 5),
    resblock_dilations=((1, 3), (1, 2, 4)),
)


def weights(network: torch.nn.Module) -> int:
    """How many numbers there are once weight norm's magnitudes are folded in, as the paper counts."""
    return sum(value.numel() for name, value in network.named_parameters() if not name.endswith("original0"))


@pytest.mark.parametrize(("config", "millions"), [(V1, 13.92), (V2, 0.92), (V3, 1.46)])
def test_generators_have_the_papers_size(config: HifiganConfig, millions: float) -> None:
    with torch.device("meta"):
        network = Hifigan(config)
    assert weights(network) // 10_000 == round(millions * 100)


def test_discriminators_of_full_width_have_the_papers_size() -> None:
    with torch.device("meta"):
        network = Discriminators(DiscriminatorConfig())
    assert round(weights(network) / 1e6, 1) == 70.7


@pytest.mark.parametrize("config", [TINY, V2, V3])
def test_a_wave_has_a_hop_of_samples_for_each_frame(config: HifiganConfig) -> None:
    network = Hifigan(config).eval()
    hop = torch.tensor(config.upsample_rates).prod().item()
    wave = network.infer(torch.randn(2, 5, config.mel_channels)).wave
    assert wave.shape == (2, 5 * hop) and wave.abs().max() <= 1


@pytest.mark.parametrize("rates", [(4, 2, 2), (5, 3, 1), (7,)])
def test_pulses_and_noise_are_heard_at_each_rate(rates: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    sizes = {"upsample_rates": rates, "upsample_kernel_sizes": tuple(2 * rate + rate % 2 for rate in rates)}
    excitation = ExcitationConfig(sample_rate=8000, hidden_size=8, num_layers=1)
    blocks = {"resblock_kernel_sizes": (3,), "resblock_dilations": ((1, 3),)}
    network = Hifigan(HifiganConfig(mel_channels=10, channels=32, excitation=excitation, **sizes, **blocks)).eval()
    mel, samples = torch.randn(2, 5, 10), 5 * math.prod(rates)
    wave = network.infer(mel).wave
    assert wave.shape == (2, samples)
    torch.testing.assert_close(network.infer(mel, network.excite(mel)).wave, wave)
    for stage, source in enumerate(network.sources):
        given = torch.randn(2, 2, samples)
        kept, source.forward = source.forward, lambda values, heard=source.forward: 0 * heard(values)
        without = network.infer(mel, given).wave
        source.forward = kept
        assert (network.infer(mel, given).wave - without).abs().max() > 1e-3, stage


def test_without_an_excitation_there_is_none() -> None:
    network = Hifigan(TINY)
    assert network.excite(torch.zeros(1, 3, 10)) is None
    assert not [name for name in network.state_dict() if name.startswith(("sources", "excitation"))]


def test_convolutions_begin_as_the_authors_do() -> None:
    torch.manual_seed(0)
    sizes = {"resblock_dilations": ((1, 3, 5), (1, 3, 5), (1, 3, 5)), "channels": 128}
    for network in (
        Hifigan(HifiganConfig(**sizes)),
        VitsDecoder(VitsConfig(decoder=HifiganConfig(mel_channels=192, **sizes))),
    ):
        layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, CONVOLUTIONS)]
        assert len(layers) > 70
        for name, layer in layers:
            fan_in = layer.weight[0].numel() if isinstance(layer, torch.nn.Conv1d) else layer.weight.shape[1:].numel()
            assert layer.weight.std().item() == pytest.approx((3 * fan_in) ** -0.5, rel=0.25), name  # U(±1/√fan_in)


def test_a_new_network_answers_to_its_mel() -> None:
    torch.manual_seed(0)
    network = Hifigan(V2).eval()
    first, second = (network.infer(torch.randn(1, 20, 80)).wave for _ in range(2))
    assert (first - second).std() > 0.1 * first.std()  # near zero at the start it was 0.011


def test_a_frame_is_heard_where_it_stands() -> None:
    torch.manual_seed(0)
    network = Hifigan(TINY).eval()
    mel = torch.randn(1, 41, 10, requires_grad=True)
    network(mel).wave[0, 20 * 16 : 21 * 16].square().sum().backward()
    assert mel.grad is not None
    weight = mel.grad[0].abs().sum(1)
    middle = (weight * torch.arange(41)).sum() / weight.sum()
    assert abs(middle.item() - 20) < 0.5
    assert weight[13:28].sum() > 0.999 * weight.sum()


def transformers_weights(config: HifiganConfig) -> Iterator[tuple[str, str]]:
    """Yield each convolution's name here and in transformers' SpeechT5HifiGan."""
    yield "conv_in", "conv_pre"
    yield "conv_out", "conv_post"
    for stage in range(len(config.upsample_rates)):
        yield f"upsamples.{stage}", f"upsampler.{stage}"
        for parallel, dilations in enumerate(config.resblock_dilations):
            theirs = f"resblocks.{stage * len(config.resblock_kernel_sizes) + parallel}"
            for place in range(len(dilations)):
                for step, name in ((1, "convs1"), (3, "convs2")):
                    yield (
                        f"blocks.{stage * len(config.resblock_kernel_sizes) + parallel}.chains.{place}.{step}",
                        f"{theirs}.{name}.{place}",
                    )


@pytest.mark.slow
@pytest.mark.parametrize("config", [TINY, V1], ids=["tiny", "V1"])
def test_the_generator_is_the_one_of_transformers(config: HifiganConfig) -> None:
    transformers = pytest.importorskip("transformers")
    oracle = transformers.SpeechT5HifiGan(
        transformers.SpeechT5HifiGanConfig(
            model_in_dim=config.mel_channels,
            upsample_initial_channel=config.channels,
            upsample_rates=list(config.upsample_rates),
            upsample_kernel_sizes=list(config.upsample_kernel_sizes),
            resblock_kernel_sizes=list(config.resblock_kernel_sizes),
            resblock_dilation_sizes=[list(dilations) for dilations in config.resblock_dilations],
            normalize_before=False,
        )
    ).eval()
    ours, names = Hifigan(config).eval(), dict(transformers_weights(config))
    convolutions = {name for name, module in ours.named_modules() if hasattr(module, "kernel_size")}
    assert set(names) == convolutions
    torch.manual_seed(0)
    with torch.no_grad():
        for here, there in names.items():
            to, source = ours.get_submodule(here), oracle.get_submodule(there)
            source.weight.normal_(std=source.weight[0].numel() ** -0.5)  # as drawn, the wave would be almost silent
            source.bias.normal_(std=0.01)
            to.weight, to.bias.data = source.weight.data, source.bias.data
        mel = torch.randn(2, 12, config.mel_channels)
        wanted, found = oracle(mel), ours(mel).wave
    assert wanted.abs().mean() > 0.01
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("width", [0.01, 0.03, 1 / 16, 0.1, 1 / 8, 0.2, 0.3, 0.7])
def test_discriminators_can_be_of_any_width(width: float) -> None:
    judged = Discriminators(DiscriminatorConfig(width=width))(torch.randn(2, 1500))
    assert len(judged.scores) == len(judged.feature_maps) == 8
    assert all(score.shape[0] == 2 and score.dim() == 2 for score in judged.scores)


def test_discriminators_judge_each_wave_by_itself_and_every_weight_counts() -> None:
    torch.manual_seed(0)
    network = Discriminators(DiscriminatorConfig(width=1 / 16)).eval()
    waves = torch.randn(3, 2001, generator=torch.Generator().manual_seed(1))
    together = network(waves)
    for index in range(3):
        alone = network(waves[index : index + 1])
        for wanted, found in zip(together.scores, alone.scores, strict=True):
            torch.testing.assert_close(found[0], wanted[index], atol=1e-5, rtol=1e-4)
    torch.stack([score.mean() for score in together.scores]).sum().backward()
    silent = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert not silent


def test_a_period_discriminator_never_mixes_the_places_in_a_period() -> None:
    torch.manual_seed(0)
    network = Discriminators(DiscriminatorConfig(periods=(5,), scales=0, width=1 / 16)).eval()
    wave = torch.randn(1, 1000)
    changed = wave.clone()
    changed[0, 403] += 1.0  # the fourth column of five
    moved = (network(wave).scores[0] != network(changed).scores[0])[0].view(-1, 5).any(0)
    assert moved.tolist() == [False, False, False, True, False]


def test_each_further_scale_hears_half_the_rate() -> None:
    judged = Discriminators(DiscriminatorConfig(periods=(), width=1 / 16))(torch.randn(1, 8192))
    lengths = [maps[0].shape[-1] for maps in judged.feature_maps]
    assert lengths == [8192, 4097, 2049]
