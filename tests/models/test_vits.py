"""VITS: a public implementation's waves, the authors' names, its own search and its own blanks."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from malsori import load_model
from malsori.errors import ConfigError, ModelError
from malsori.models.vits import Vits, VitsConfig
from malsori.models.vits_duration import DurationConfig, SplineFlow
from malsori.pretrained.external import import_external
from malsori.pretrained.folder import open_model, save_model
from malsori.pretrained.hub import load_saved
from malsori.tts.spelling import join_blanks, with_blanks

from .harness import check_gradients
from .subjects_vits import VITS

SMALL = {
    "vocab_size": 20, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "ffn_dim": 36,
    "flow_size": 16, "spectrogram_bins": 33, "upsample_initial_channel": 32, "upsample_rates": [4, 2],
    "upsample_kernel_sizes": [8, 4], "resblock_kernel_sizes": [3, 5], "resblock_dilation_sizes": [[1, 3], [1, 2]],
    "posterior_encoder_num_wavenet_layers": 3, "prior_encoder_num_wavenet_layers": 2,
    "duration_predictor_filter_channels": 20,
}  # fmt: skip
KINDS = {
    "stochastic": {},
    "deterministic": {"use_stochastic_duration_prediction": False},
    "three speakers": {"num_speakers": 3, "speaker_embedding_size": 12},
    "three speakers, deterministic": {
        "num_speakers": 3, "speaker_embedding_size": 12, "use_stochastic_duration_prediction": False,
    },
}  # fmt: skip
REAL = {"facebook/mms-tts-*": {}, "VCTK": {"num_speakers": 109, "speaker_embedding_size": 256, "vocab_size": 178}}


def transformers_folder(folder: Path, **config: Any) -> Any:
    """Write a VitsModel with random weights that are neither silent nor endless, and return it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    oracle = transformers.VitsModel(transformers.VitsConfig(**config)).eval()
    with torch.no_grad():
        for name, value in oracle.named_parameters():
            if name.startswith("decoder.") and value.dim() > 1:
                value.normal_(std=value[0].numel() ** -0.5)
            elif name.endswith(("translate", "log_scale")):
                value.normal_(std=0.3)
    oracle.save_pretrained(folder)
    return oracle


def compare(folder: Path, config: dict[str, Any], tokens: int = 11) -> None:
    """Hold malsori's wave to transformers', with and without noise, in a padded batch and alone."""
    oracle = transformers_folder(folder, **config)
    network = load_model(str(folder))
    assert isinstance(network, Vits) and not network.training
    several = config.get("num_speakers", 1) > 1
    random = torch.Generator().manual_seed(1)
    token_ids = torch.randint(0, config.get("vocab_size", 38), (1, tokens), generator=random)
    for noise_scale, duration_noise_scale in ((0.0, 0.0), (0.667, 0.8)):
        oracle.noise_scale, oracle.noise_scale_duration = noise_scale, duration_noise_scale
        torch.manual_seed(7)
        with torch.no_grad():
            wanted = oracle(token_ids, **({"speaker_id": 2} if several else {})).waveform
        torch.manual_seed(7)
        found = network.infer(
            token_ids,
            speaker_ids=torch.tensor([2]) if several else None,
            noise_scale=noise_scale,
            duration_noise_scale=duration_noise_scale,
        ).wave
        assert wanted.shape[1] > tokens and wanted.abs().mean() > 0.01
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_transformers_says_what_it_says_there_noise_and_all(kind: str, tmp_path: Path) -> None:
    compare(tmp_path, SMALL | KINDS[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", REAL)
def test_a_folder_of_transformers_at_real_width_says_what_it_says_there(kind: str, tmp_path: Path) -> None:
    compare(tmp_path, REAL[kind], tokens=31)


def test_a_batch_of_texts_is_spoken_as_each_alone(tmp_path: Path) -> None:
    transformers_folder(tmp_path, **SMALL)
    network = load_model(str(tmp_path))
    texts = [torch.arange(1, 10), torch.arange(3, 8)]
    batch = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
    together = network.infer(batch, torch.tensor([9, 5]), noise_scale=0.0, duration_noise_scale=0.0)
    for row, text in enumerate(texts):
        alone = network.infer(text[None], noise_scale=0.0, duration_noise_scale=0.0)
        assert together.durations[row, : len(text)].tolist() == alone.durations[0].tolist()
        frames = int(alone.frame_lengths[0])
        assert together.frame_lengths[row] == frames == together.durations[row].sum()
        near = (frames - 12) * network.config.decoder.samples_per_frame  # the decoder sees beyond the shorter one's end
        torch.testing.assert_close(together.wave[row, :near], alone.wave[0, :near], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["stochastic", "three speakers"])
def test_recordings_become_the_latent_that_they_become_there(kind: str, tmp_path: Path) -> None:
    oracle, network = transformers_folder(tmp_path, **SMALL | KINDS[kind]), load_model(str(tmp_path))
    spectrogram, mask = torch.rand(2, 25, 33), torch.arange(25) < torch.tensor([[25], [18]])
    speakers = torch.tensor([2, 0])
    steering = network.speaker_vectors(speakers)
    theirs = None if steering is None else oracle.embed_speaker(speakers)[..., None]
    with torch.no_grad():
        _, mean, log_std = oracle.posterior_encoder(spectrogram.transpose(1, 2), mask[:, None], theirs)
        behind = oracle.flow(mean, mask[:, None], theirs)
        found = network.posterior_encoder(spectrogram, mask, steering)
        flowed = network.flow(found[0], mask, steering)
    for ours, wanted in ((found[0], mean), (found[1], log_std), (flowed, behind)):
        torch.testing.assert_close(ours, wanted.transpose(1, 2), atol=1e-5, rtol=1e-4)


def test_the_duration_flow_is_undone_without_its_first_coupling() -> None:
    torch.manual_seed(0)
    flow = SplineFlow(6, DurationConfig(num_flows=3, num_layers=2)).double()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    values, condition = torch.randn(2, 2, 9).double(), torch.randn(2, 6, 9).double()
    mask = torch.ones(2, 1, 9, dtype=torch.bool)
    latent, _ = flow(values, mask, condition)
    assert (latent - values).abs().max() > 0.1
    torch.testing.assert_close(flow.undo(latent, mask, condition), values[:, 0])


def test_speed_shortens_and_a_generator_repeats_itself() -> None:
    network, token_ids = VITS.build(), torch.arange(12)[None]

    def say(**more: Any) -> Any:
        return network.infer(token_ids, generator=torch.Generator().manual_seed(3), **more)

    assert torch.equal(say().wave, say().wave)
    assert not torch.equal(say().durations, say(duration_noise_scale=0.1).durations)
    slow, fast = say(speed=0.25).frame_lengths, say(speed=0.5).frame_lengths
    assert 1.6 < slow / fast < 2.1


def test_a_public_folder_refuses_by_name_what_it_cannot_be(tmp_path: Path) -> None:
    transformers_folder(tmp_path, **SMALL)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu"}))
    with pytest.raises(ModelError, match="hidden_act is 'gelu'"):
        load_model(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(config | {"ffn_dim": 30}))
    with pytest.raises(ModelError, match=r"text_encoder\.encoder\.layers\.0\.feed_forward\.conv_1\.weight' has shape"):
        load_model(str(tmp_path))


def test_a_public_voice_saves_as_ours_and_says_the_same(tmp_path: Path) -> None:
    transformers_folder(tmp_path / "theirs", **SMALL)
    (tmp_path / "theirs" / "vocab.json").write_text(json.dumps({letter: n for n, letter in enumerate(" abcdefg")}))
    model = load_saved(str(tmp_path / "theirs"))
    assert model.facts.audio.sample_rate == 16000 and model.facts.audio.hop_samples == 8
    save_model(model, tmp_path / "ours")
    opened = open_model(tmp_path / "ours")
    assert opened.facts == model.facts and opened.symbols == model.symbols
    token_ids = torch.arange(8)[None]
    before, after = (one.network.infer(token_ids, noise_scale=0.0).wave for one in (model, opened))
    assert before.shape[1] > 0 and (before.shape != after.shape or torch.equal(before, after))


# the authors' names


def authors_names(width: int, speakers: int, stochastic: bool) -> dict[str, tuple[int, ...]]:
    """The authors' names and shapes of a generator with narrow layers, weight norm as PyTorch spelled it then."""
    shapes: dict[str, tuple[int, ...]] = {}
    latent, wide, condition = width, 2 * width, 5 if speakers else 0

    def layer(name: str, *shape: int, bias: int | None = None, normed: bool = False) -> None:
        shapes[f"{name}.bias"] = (shape[0] if bias is None else bias,)
        if normed:
            shapes.update({f"{name}.weight_g": (shape[0], 1, 1), f"{name}.weight_v": shape})
        else:
            shapes[f"{name}.weight"] = shape

    def norm(name: str, size: int = width) -> None:
        shapes.update({f"{name}.gamma": (size,), f"{name}.beta": (size,)})

    def wavenet(name: str, layers: int) -> None:
        if condition:
            layer(f"{name}.cond_layer", 2 * width * layers, condition, 1, normed=True)
        for number in range(layers):
            layer(f"{name}.in_layers.{number}", 2 * width, width, 5, normed=True)
            layer(f"{name}.res_skip_layers.{number}", width * (1 + (number < layers - 1)), width, 1, normed=True)

    def stack(name: str) -> None:
        for number in range(3):
            layer(f"{name}.convs_sep.{number}", width, 1, 3)
            layer(f"{name}.convs_1x1.{number}", width, width, 1)
            norm(f"{name}.norms_1.{number}")
            norm(f"{name}.norms_2.{number}")

    def flows(name: str) -> None:
        shapes.update({f"{name}.0.m": (2, 1), f"{name}.0.logs": (2, 1)})
        for number in (1, 3, 5, 7):
            layer(f"{name}.{number}.pre", width, 1, 1)
            stack(f"{name}.{number}.convs")
            layer(f"{name}.{number}.proj", 29, width, 1)

    if speakers:
        shapes["emb_g.weight"] = (speakers, condition)
    shapes["enc_p.emb.weight"] = (13, width)
    layer("enc_p.proj", 2 * latent, width, 1)
    for number in range(2):
        at = f"enc_p.encoder.attn_layers.{number}"
        shapes |= {f"{at}.emb_rel_{kind}": (1, 9, width // 2) for kind in "kv"}
        for kind in "qkvo":
            layer(f"{at}.conv_{kind}", width, width, 1)
        norm(f"enc_p.encoder.norm_layers_1.{number}")
        norm(f"enc_p.encoder.norm_layers_2.{number}")
        layer(f"enc_p.encoder.ffn_layers.{number}.conv_1", wide, width, 3)
        layer(f"enc_p.encoder.ffn_layers.{number}.conv_2", width, wide, 3)
    layer("enc_q.pre", width, 17, 1)
    wavenet("enc_q.enc", 16)
    layer("enc_q.proj", 2 * latent, width, 1)
    for number in (0, 2, 4, 6):
        layer(f"flow.flows.{number}.pre", width, latent // 2, 1)
        wavenet(f"flow.flows.{number}.enc", 4)
        layer(f"flow.flows.{number}.post", latent // 2, width, 1)
    layer("dec.conv_pre", 16, latent, 7)
    for stage, channels in enumerate((16, 8)):
        layer(f"dec.ups.{stage}", channels, channels // 2, 8, bias=channels // 2, normed=True)
        for block, kernel in enumerate((3, 5)):
            for kind in ("convs1", "convs2"):
                for step in range(3):
                    half = channels // 2
                    layer(f"dec.resblocks.{2 * stage + block}.{kind}.{step}", half, half, kernel, normed=True)
    shapes["dec.conv_post.weight"] = (1, 4, 7)
    if speakers:
        layer("dec.cond", 16, condition, 1)
        layer("dp.cond", width, condition, 1)
    if stochastic:
        for name, size in (("pre", width), ("proj", width), ("post_pre", 1), ("post_proj", width)):
            layer(f"dp.{name}", width, size, 1)
        stack("dp.convs")
        stack("dp.post_convs")
        flows("dp.flows")
        flows("dp.post_flows")
    else:
        layer("dp.conv_1", 256, width, 3)
        layer("dp.conv_2", 256, 256, 3)
        norm("dp.norm_1", 256)
        norm("dp.norm_2", 256)
        layer("dp.proj", 1, 256, 1)
    return shapes


def authors_file(folder: Path, speakers: int, stochastic: bool, **data: Any) -> tuple[Path, dict[str, Tensor]]:
    """Write G_3.pth and config.json as the authors' program does, and return its path and its tensors."""
    random, tensors = torch.Generator().manual_seed(0), {}
    for name, shape in authors_names(8, speakers, stochastic).items():
        value, kind = torch.randn(shape, generator=random), name.rpartition(".")[2]
        small = 0.1 if kind in ("gamma", "weight_g", "bias", "beta", "m", "logs") else math.prod(shape[1:]) ** -0.5
        tensors[name] = (kind in ("gamma", "weight_g")) + small * value
    torch.save({"model": tensors, "iteration": 3, "optimizer": {}, "learning_rate": 2e-4}, folder / "G_3.pth")
    model = {
        "inter_channels": 8, "hidden_channels": 8, "filter_channels": 16, "n_heads": 2, "n_layers": 2,
        "kernel_size": 3, "p_dropout": 0.1, "resblock": "1", "resblock_kernel_sizes": [3, 5],
        "resblock_dilation_sizes": [[1, 3, 5], [1, 2, 3]], "upsample_rates": [4, 4], "upsample_initial_channel": 16,
        "upsample_kernel_sizes": [8, 8], "use_sdp": stochastic,
    } | ({"gin_channels": 5} if speakers else {})  # fmt: skip
    data = {"sampling_rate": 22050, "filter_length": 32, "add_blank": True, "n_speakers": speakers} | data
    (folder / "config.json").write_text(json.dumps({"model": model, "data": data}))
    return folder / "G_3.pth", tensors


@pytest.mark.parametrize("speakers", [0, 4])
@pytest.mark.parametrize("stochastic", [True, False])
def test_the_authors_file_is_opened_to_the_last_name(speakers: int, stochastic: bool, tmp_path: Path) -> None:
    path, tensors = authors_file(tmp_path, speakers, stochastic)
    opened = import_external(path, [])
    network = opened.network
    assert torch.equal(network.text_encoder.blocks[1].attention.key.weight, squeezed(tensors, "attn_layers.1.conv_k"))
    assert torch.equal(network.flow.steps[3].shift.weight, tensors["flow.flows.6.post.weight"])
    if stochastic:
        assert torch.equal(network.duration_predictor.flow.steps[4].choose.weight, tensors["dp.flows.7.proj.weight"])
        assert torch.equal(network.duration_predictor.text_out.weight, tensors["dp.proj.weight"])
    else:
        assert torch.equal(network.duration_predictor.predictor.project.weight, tensors["dp.proj.weight"][..., 0])
    assert len(opened.facts.speakers) == speakers


#: What the authors' program said of `authors_file` (infer, no noise, length_scale 1.5): speakers, whether stochastic →
#: frames each token lasts, and every 50th sample from the 100th on.
SAID = {
    (0, True): ([1] * 12 + [27], [-0.85891, -0.20877, -0.38184, 0.53285, -0.67111]),
    (0, False): ([2, 19, 5, 5, 3, 2, 5, 9, 5, 2, 3, 2, 4], [-0.039, 0.22383, -0.51401, 0.66589, -0.37284]),
    (4, True): ([6, 13, 5, 3, 34, 8, 3, 2, 4, 9, 12, 3, 9], [0.58014, 0.33096, 0.10971, 0.67434, 0.82732]),
    (4, False): ([1, 1, 3, 2, 1, 1, 3, 2, 1, 1, 3, 3, 2], [0.36557, 0.66024, 0.10049, 0.44918, 0.79912]),
}


@pytest.mark.parametrize(("speakers", "stochastic"), SAID)
def test_the_authors_file_says_what_it_said_there(speakers: int, stochastic: bool, tmp_path: Path) -> None:
    network = import_external(authors_file(tmp_path, speakers, stochastic)[0], []).network
    speaker_ids = torch.tensor([2]) if speakers else None
    durations, samples = SAID[speakers, stochastic]
    said = network.infer(torch.arange(13)[None], None, speaker_ids, 0.0, 0.0, speed=1 / 1.5)
    assert said.durations[0].tolist() == durations
    torch.testing.assert_close(said.wave[0, 100:350:50], torch.tensor(samples), atol=1e-4, rtol=1e-4)


def test_one_speaker_may_have_what_several_are_told_apart_by(tmp_path: Path) -> None:
    path, tensors = authors_file(tmp_path, 4, True, n_speakers=0)
    alone = {name: tensor for name, tensor in tensors.items() if name != "emb_g.weight"}
    torch.save({"model": alone}, path)
    network = import_external(path, []).network
    assert not network.config.speaker_embedding_size and network.infer(torch.arange(9)[None]).wave.isfinite().all()


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("model", "inter_channels", None, r"its settings have no 'model\.inter_channels'"),
        ("data", "add_blank", None, r"its settings have no 'data\.add_blank'"),
        (
            "model",
            "n_layers",
            "two",
            r"not those of a vits: num_encoder_layers = 'two': Input should be a valid integer",
        ),
        ("model", "n_heads", 3, "8 features cannot be split into 3 heads"),
        ("model", "gin_channels", 0, "not those of a vits: 4 speakers need speaker_embedding_size"),
    ],
)
def test_settings_of_the_authors_that_cannot_be_are_named(
    section: str, key: str, value: Any, message: str, tmp_path: Path
) -> None:
    path, _ = authors_file(tmp_path, 4, True)
    config = json.loads((tmp_path / "config.json").read_text())
    config[section] = {name: given for name, given in (config[section] | {key: value}).items() if given is not None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message):
        import_external(path, [])


def test_what_an_authors_file_was_stripped_of_is_named(tmp_path: Path) -> None:
    path, tensors = authors_file(tmp_path, 0, True)
    torch.save({"model": {name: tensors[name] for name in tensors if not name.startswith("enc_q.")}}, path)
    with pytest.raises(ModelError, match=r"weight 'enc_q\.pre\.weight' is missing"):
        import_external(path, [])
    torch.save({"model": {"discriminators.0.convs.0.bias": torch.zeros(3)}, "iteration": 3}, tmp_path / "D_3.pth")
    with pytest.raises(ModelError, match=r"'discriminators\.': holds the discriminators; .* begins with G_"):
        import_external(tmp_path / "D_3.pth", [])
    (tmp_path / "config.json").write_text(
        json.dumps(json.loads((tmp_path / "config.json").read_text()) | {"symbols": "_a"})
    )
    with pytest.raises(ModelError, match="2 symbols in its settings, 13 in the file"):
        import_external(path, [])


def squeezed(tensors: dict[str, Tensor], name: str) -> Tensor:
    return tensors[f"enc_p.encoder.{name}.weight"][..., 0]


# ours


def test_the_papers_network_has_the_public_ones_size() -> None:
    with torch.device("meta"):
        network = Vits(VitsConfig(vocab=38))
    count = sum(value.numel() for value in network.parameters())
    magnitudes = sum(v.numel() for n, v in network.named_parameters() if n.endswith("original0"))
    assert round((count - magnitudes) / 1e6, 1) == 36.3  # the model card of facebook/mms-tts-eng


def test_a_deterministic_predictor_learns_too(tmp_path: Path) -> None:
    sizes = VITS.config.model_copy(update={"durations": DurationConfig(stochastic=False, hidden_size=11)})
    subject = type(VITS)(**(vars(VITS) | {"config": sizes}))
    check_gradients(subject, tmp_path)
    output = subject.build()(**{name: value[None] for name, value in subject.items()[0].items()})
    assert output.duration_latent.shape == (1, 9, 1) and output.duration_noise.shape == (1, 9, 0)


def test_the_text_encoder_and_the_speaker_are_deaf_to_durations() -> None:
    network = VITS.build()
    output = network(**{name: value[None] for name, value in VITS.items()[0].items()})
    (output.duration_latent.square().sum() + output.duration_log_determinant.sum()).backward()
    reached = {name.split(".")[0] for name, value in network.named_parameters() if value.grad is not None}
    assert reached == {"duration_predictor"}


def test_the_search_finds_the_tokens_a_latent_was_made_of() -> None:
    network, item = VITS.build(), VITS.items()[0]
    with torch.no_grad():  # tokens far apart, all equally broad
        network.text_encoder.project.weight *= torch.tensor([[20.0] * 8, [0.01] * 8]).view(-1, 1, 1)
    _, mean, log_std = network.text_encoder(item["token_ids"][None], torch.ones(1, 9, dtype=torch.bool))
    planted = torch.tensor([4, 1, 2, 7, 1, 1, 3, 9, 3])
    latent = mean[0].detach().repeat_interleave(planted, 0)
    network.flow.forward = lambda *_: latent[None]  # as if the flow gave the prior's own means
    output = network(**{name: value[None] for name, value in item.items()})
    assert output.durations[0].tolist() == planted.tolist()
    torch.testing.assert_close(output.prior_mean[0], latent)
    torch.testing.assert_close(output.prior_log_std[0], log_std[0].repeat_interleave(planted, 0))


def test_a_pull_to_the_diagonal_deals_frames_out_until_the_text_encoder_knows_better() -> None:
    sizes = VITS.config.model_copy(update={"diagonal": 0.05})
    network, item = Vits(sizes).eval(), {name: value[None] for name, value in VITS.items()[0].items()}
    with torch.no_grad():  # tokens that all sound alike
        network.text_encoder.project.weight.zero_()
        network.text_encoder.project.bias.zero_()
        assert set(network(**item).durations[0].tolist()) == {3, 4}  # 31 frames for 9 tokens
    planted = torch.tensor([8, 1, 2, 1, 1, 1, 3, 11, 3])
    torch.nn.init.normal_(network.text_encoder.project.weight[:8], std=20.0)
    mean = network.text_encoder(item["token_ids"], torch.ones(1, 9, dtype=torch.bool))[1]
    network.flow.forward = lambda *_: mean.detach().repeat_interleave(planted, 1)
    assert network(**item).durations[0].tolist() == planted.tolist()


def test_pieces_are_decoded_from_the_frames_they_name() -> None:
    network, item = VITS.build(), {name: value[None] for name, value in VITS.items()[0].items()}
    with torch.no_grad():
        whole, piece = network(**item).wave, network(**item, pieces=torch.arange(3, 30)[None]).wave
    middle = slice(13 * 16, 18 * 16)
    torch.testing.assert_close(piece[0, 10 * 16 : 15 * 16], whole[0, middle], atol=1e-5, rtol=1e-4)


def test_settings_that_do_not_agree_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"decoder\.mel_channels is 192: .* latent_channels 96"):
        VitsConfig.parse({"latent_channels": 96}, "recipe")
    with pytest.raises(ConfigError, match="2 speakers need speaker_embedding_size"):
        VitsConfig.parse({"speakers": 2}, "recipe")


def test_blanks_stand_between_tokens_and_their_frames_go_to_both_sides() -> None:
    assert with_blanks([]) == [0]
    random = np.random.default_rng(0)
    for count in range(1, 6):
        durations = random.integers(1, 9, 2 * count + 1)
        assert len(with_blanks(list(range(1, count + 1)))) == len(durations)
        joined = join_blanks(durations)
        assert joined.sum() == durations.sum() and (joined >= durations[1::2]).all()
