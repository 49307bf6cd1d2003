"""Each exported graph beside the network it was traced from, at lengths that the tracing did not see."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from malsori.export import recognizers, voices
from malsori.export.graph import Graph, onnx_bytes
from malsori.models.excitation import ExcitationConfig

from . import small

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

CLOSE = {"atol": 1e-4, "rtol": 1e-4}


def opened(graph: Graph, **options: Any) -> Any:
    """Return a function of the graph's inputs by name."""
    session = onnxruntime.InferenceSession(onnx_bytes(graph, **options), providers=["CPUExecutionProvider"])
    taken = {one.name for one in session.get_inputs()}

    def run(**inputs: Any) -> list[np.ndarray]:
        arrays = {
            name: value.numpy() if isinstance(value, Tensor) else np.asarray(value) for name, value in inputs.items()
        }
        return session.run(None, {name: value for name, value in arrays.items() if name in taken})

    return run


def same(found: np.ndarray, wanted: Tensor) -> None:
    assert found.shape == tuple(wanted.shape)
    np.testing.assert_allclose(found, wanted.numpy(), **CLOSE)


def drawn(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def some_ids(count: int) -> Tensor:
    return torch.randint(1, 40, (1, count), generator=torch.Generator().manual_seed(count))


def test_fastspeech2_gives_its_mel_and_durations_at_any_speed_and_energy():
    network = small.fastspeech2()
    run = opened(voices.fastspeech2_graphs(network)["acoustic"])
    for count, speaker, speed in ((1, 0, 1.0), (5, 2, 0.7), (44, 1, 1.8)):
        ids, asked = some_ids(count), {"speed": speed, "energy_shift": 0.5}
        wanted = network.infer(ids, torch.tensor([count]), torch.tensor([speaker]), **asked)
        mel, durations = run(
            token_ids=ids, speaker=[speaker], **{name: np.float32(value) for name, value in asked.items()}
        )
        assert durations.tolist() == wanted.durations.tolist() and durations.sum() == mel.shape[1]
        same(mel, wanted.mel)


@pytest.mark.slow
def test_fastspeech_gives_its_mel_and_durations():
    network = small.fastspeech()
    run = opened(voices.fastspeech_graphs(network)["acoustic"])
    ids = some_ids(31)
    wanted = network.infer(ids, torch.tensor([31]), torch.tensor([2]), speed=1.3)
    mel, durations = run(token_ids=ids, speaker=[2], speed=np.float32(1.3))
    assert durations.tolist() == wanted.durations.tolist()
    same(mel, wanted.mel)


@pytest.mark.parametrize("system", ["vocos", pytest.param("hifigan", marks=pytest.mark.slow)])
def test_a_vocoder_gives_its_wave(system):
    network = getattr(small, system)()
    run = opened(getattr(voices, f"{system}_graphs")(network)["vocoder"])
    for frames in (1, 2, 75):
        mel = drawn(1, frames, 80)
        same(run(mel=mel)[0], network.infer(mel).wave)


@pytest.mark.parametrize("system", ["vocos", "hifigan"])
def test_a_vocoder_with_an_excitation_gives_both(system):
    network = getattr(small, f"excited_{system}")()
    runs = {name: opened(graph) for name, graph in getattr(voices, f"{system}_graphs")(network).items()}
    for frames in (1, 2, 75):
        mel = drawn(1, frames, 80)
        excitation = network.excite(mel)
        found = runs["excitation"](mel=mel)[0]
        same(found[:, 1], excitation[:, 1])
        np.testing.assert_allclose(found[:, 0], excitation[:, 0], atol=0.05)  # F0's rounding adds up in the phase
        same(runs["vocoder"](mel=mel, excitation=excitation)[0], network.infer(mel).wave)


def test_vits_with_an_excitation_gives_its_wave():
    network = small.vits(False, ExcitationConfig(hidden_size=16, num_layers=2))
    sound = voices.vits_graphs(network)["sound"]
    mean, log_std, durations, noise = drawn(1, 9, 16), drawn(1, 9, 16), torch.arange(9)[None], drawn(1, 16, 36)
    given = {"mean": mean, "log_std": log_std, "durations": durations, "noise": noise, "speaker": torch.tensor([1])}
    with torch.inference_mode():
        wanted = sound.module(*given.values())
    np.testing.assert_allclose(opened(sound)(**given)[0], wanted, atol=5e-3)  # F0's rounding adds up in the phase


@pytest.mark.slow
@pytest.mark.parametrize("stochastic", [True, False])
def test_vits_gives_its_wave_for_the_same_noise(stochastic):
    network = small.vits(stochastic)
    graphs = voices.vits_graphs(network)
    plan, sound = opened(graphs["plan"]), opened(graphs["sound"])
    for count, speed in ((5, 1.0), (29, 1.4)):
        ids, speaker = some_ids(count), torch.tensor([0 if stochastic else 2])
        wanted = network.infer(ids, speaker_ids=speaker, speed=speed, generator=torch.Generator().manual_seed(3))
        chance = torch.Generator().manual_seed(3)
        noise = torch.zeros(1, 2, count)
        noise = noise.normal_(generator=chance) * 0.8 if stochastic else noise
        mean, log_std, durations = plan(token_ids=ids, speaker=speaker, speed=np.float32(speed), duration_noise=noise)
        assert durations.tolist() == wanted.durations.tolist()
        noise = torch.empty(1, int(durations.sum()), 16).transpose(1, 2).normal_(generator=chance) * 0.667
        (wave,) = sound(mean=mean, log_std=log_std, durations=durations, noise=noise, speaker=speaker)
        same(wave, wanted.wave)


def test_a_conformer_gives_both_its_outputs():
    network = small.conformer()
    run = opened(recognizers.conformer_graphs(network)["encoder"])
    for frames in (10, 63, 202):
        mel = drawn(1, frames, 80)
        wanted = network.infer(mel, torch.tensor([frames]))
        jamo, phonemes = run(mel=mel)
        same(jamo, wanted.jamo)
        same(phonemes, wanted.phonemes)


@pytest.mark.parametrize(
    "kin",
    [
        {},
        {"positions": "stacked", "num_position_layers": 3, "position_kernel_size": 5, "norm": "layer"},
        {"positions": "normalized", "latent_norm": False},
        {"distance_buckets": 12, "max_distance": 9},
        {"norm_first": True, "adapter_size": 4},
    ],
    ids=["wav2vec2", "data2vec", "hubert", "wavlm", "mms"],
)
def test_a_wav2vec2_gives_log_probabilities(kin):
    network = small.wav2vec2(**kin)
    run = opened(recognizers.wav2vec2_graphs(network)["encoder"])
    for samples in (2000, 9000):
        wave = drawn(1, samples)
        same(run(wave=wave)[0], network.infer(wave).logits.log_softmax(-1))


def without_silence(network: Any) -> dict[str, np.ndarray]:
    config = network.config
    size = config.hidden_size // config.num_encoder_heads
    none = np.zeros((config.num_encoder_layers, 1, config.num_encoder_heads, 0, size), np.float32)
    return {"silent_keys": none, "silent_values": none, "silent_bias": none[..., :1].transpose(0, 1, 2, 4, 3)}


def test_a_whisper_gives_its_logits_step_by_step_for_any_number_of_texts():
    network = small.whisper()
    graphs = recognizers.whisper_graphs(network)
    encode, decode = opened(graphs["encoder"]), opened(graphs["decoder"])
    for frames in (200, 60):
        mel = drawn(1, frames, 80)
        keys, values, *_ = encode(mel=mel, steps=frames // 2, **without_silence(network))
        start = network.start(mel)
        for block, cache in enumerate(start.caches):
            same(keys[block], cache.cross_keys)
            same(values[block], cache.cross_values)
        bias = np.zeros((2, 1, 2, 1, keys.shape[3]), np.float32)
        parts = {"cross_keys": keys, "cross_values": values, "cross_bias": bias}
        cross = {f"{name}_{block}": part[block] for name, part in parts.items() for block in range(2)}
        own = [f"past_{kind}_{block}" for block in range(2) for kind in ("keys", "values")]
        for rows in (1, 3):
            past, state = [np.zeros((rows, 2, 0, 8), np.float32)] * 4, start
            for new in (3, 1, 2):
                ids = torch.randint(0, 50, (rows, new), generator=torch.Generator().manual_seed(new))
                wanted, state = state.step(ids)
                logits, _, *past = decode(token_ids=ids, **dict(zip(own, past, strict=True)), **cross)
                same(logits, wanted)
        ids, empty = torch.tensor([[1, 7, 3]]), dict.fromkeys(own, np.zeros((1, 2, 0, 8), np.float32))
        logits, looks, *_ = decode(token_ids=ids, **empty, **cross)
        wanted, wanted_looks = start.score(ids, ((1, 0), (1, 1)))
        same(logits, wanted)
        same(looks, wanted_looks)


def test_silence_that_stands_for_no_step_is_not_looked_at():
    network = small.whisper()
    sizes, run = network.config, opened(recognizers.whisper_graphs(network)["encoder"])
    places = sizes.num_encoder_layers, 1, sizes.num_encoder_heads
    keys = drawn(*places, 3, sizes.hidden_size // sizes.num_encoder_heads)
    bias = torch.zeros(*places, 1, 3)
    bias[..., 1:] = -torch.inf

    def heard(count: int) -> list[np.ndarray]:
        given, weights = keys[..., :count, :], bias[..., :count]
        mel = drawn(1, 40, sizes.mel_channels)
        return run(mel=mel, steps=np.array(20), silent_keys=given, silent_values=given, silent_bias=weights)

    for found, wanted in zip(heard(3), heard(1), strict=True):
        same(found, torch.from_numpy(wanted))


@pytest.mark.parametrize(
    ("dtype", "share", "off"), [pytest.param("float16", 0.6, 0.01, marks=pytest.mark.slow), ("int8", 0.5, 0.4)]
)
def test_smaller_weights_make_a_smaller_file_and_nearly_the_same_output(dtype, share, off):
    network = small.conformer(hidden_size=64)
    graph, mel = recognizers.conformer_graphs(network)["encoder"], drawn(1, 90, 80)
    whole, less = (len(onnx_bytes(graph, one)) for one in ("float32", dtype))
    assert less < share * whole
    found, wanted = opened(graph, dtype=dtype)(mel=mel)[0], network.infer(mel, torch.tensor([90])).jamo.numpy()
    assert 0 < np.abs(found - wanted).mean() < off


def test_the_operator_set_is_the_one_that_was_asked_for():
    import onnx

    graph = voices.vocos_graphs(small.vocos())["vocoder"]
    assert onnx.load_from_string(onnx_bytes(graph, opset=19)).opset_import[0].version == 19
