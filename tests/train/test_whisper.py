"""Training a Whisper: what is learnt from and what is not, from nothing and from a public folder; and saved whole."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from malsori.asr.recognizer import load_recognizer
from malsori.audio.io import save_audio
from malsori.cli import run as command
from malsori.corpus.batches import DataConfig, Example
from malsori.corpus.folder import load_corpus
from malsori.errors import ConfigError, CorpusError
from malsori.models.whisper import Whisper
from malsori.pretrained.hub import load_saved
from malsori.text.frontend import Frontend
from malsori.text.tokenizer import Tokenizer, jamo_files, vocab_size
from malsori.train.loop import RunOptions, train
from malsori.train.recipe import read_recipe
from malsori.train.setup import TrainingSetup
from malsori.train.systems import parse_recipe, set_up

TINY = (
    "model.hidden_size=16", "model.num_encoder_layers=1", "model.num_encoder_heads=2", "model.encoder_ffn_size=16",
    "model.num_decoder_layers=1", "model.num_decoder_heads=2", "model.decoder_ffn_size=16", "data.batch_seconds=3.0",
    "data.workers=0", "train.steps=4", "train.validate_every=2", "train.save_every=2", "train.contributions_every=0",
)  # fmt: skip
TEXTS = (
    "안녕하세요", "오늘은 날씨가 좋네요", "내일 다시 만나요", "책을 읽고 있어요", "무엇을 드셨어요", "차 한 잔 주세요",
    "바다에 가고 싶어요", "우리 같이 걸어요",
)  # fmt: skip


@pytest.fixture
def bound(planted_corpus, monkeypatch) -> Callable[..., TrainingSetup]:
    """A function that binds the small recipe, or the other one, to the planted corpus."""
    frontend = Frontend(morphology=False)
    monkeypatch.setattr("malsori.train.whisper.Frontend", lambda *_words: frontend)

    def make(*settings: str, name: str = "whisper-small", corpus: Path = planted_corpus) -> TrainingSetup:
        sizes = TINY if name == "whisper-small" else TINY[7:]
        return set_up(parse_recipe(read_recipe(name, [*sizes, *settings]), name), load_corpus(corpus))

    return make


@pytest.fixture(scope="module")
def public(tmp_path_factory) -> Path:
    """A folder as transformers saves it, with a byte-level tokenizer."""
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    path = tmp_path_factory.mktemp("public")
    pieces = tokenizers.Tokenizer(tokenizers.models.BPE())
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = tokenizers.decoders.ByteLevel()
    letters = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, initial_alphabet=letters, show_progress=False)
    pieces.train_from_iterator(TEXTS, trainer)
    names = ["endoftext", "startoftranscript", "en", "ko", "translate", "transcribe", "nospeech", "notimestamps"]
    pieces.add_special_tokens([f"<|{name}|>" for name in names])
    pieces.save(str(path / "tokenizer.json"))
    torch.manual_seed(0)
    end = pieces.token_to_id("<|endoftext|>")
    config = transformers.WhisperConfig(
        vocab_size=pieces.get_vocab_size(), d_model=16, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_source_positions=200,
        max_target_positions=32, pad_token_id=end, bos_token_id=end, eos_token_id=end, decoder_start_token_id=end + 1,
    )  # fmt: skip
    transformers.WhisperForConditionalGeneration(config).save_pretrained(path)
    settings = {"is_multilingual": True, "suppress_tokens": [1, 2], "begin_suppress_tokens": [end]}
    (path / "generation_config.json").write_text(json.dumps(settings))
    return path


def batch_of(setup: TrainingSetup, split: str = "train"):
    examples = [
        Example(name, "kim", np.zeros(round(cut.duration * setup.corpus.audio.sample_rate), np.float32), {})
        for name, cut in setup.cuts[split].items()
    ]
    return setup.collators[split](examples, np.random.default_rng(0))


def test_the_small_recipe_teaches_jamo_and_no_more_than_is_said(bound) -> None:
    setup = bound()
    tokenizer = Tokenizer(setup.files)
    batch = batch_of(setup)
    assert setup.facts.model["vocab"] == vocab_size(jamo_files()) == setup.task.network.config.vocab
    for row, length, text in zip(batch.target_ids.tolist(), batch.token_lengths.tolist(), batch.texts, strict=True):
        assert tokenizer.decode(row[:length]) == text
        assert row[length - 1] == tokenizer.end and row[: length - 1].count(tokenizer.end) == 0
    assert torch.equal(batch.given_ids[:, 1:3], batch.target_ids[:, :2])
    assert batch.given_ids[0, :4].tolist() == list(tokenizer.prefix("ko"))
    assert sorted(batch.texts) == sorted(TEXTS[:6])
    frames = [int(cut.duration * 16000) // 160 for cut in setup.cuts["train"].values()]
    np.testing.assert_allclose(batch.mel_lengths, frames, rtol=0.12)  # transcribed at 0.9 to 1.1 of their speed
    assert batch.mel.shape[1] == batch.mel_lengths.max()


def test_a_whole_window_is_filled_up_with_silence_and_heard_as_a_whole(bound) -> None:
    setup = bound("model.whole_window=true", "model.encoder_positions=300")
    batch = batch_of(setup)
    assert batch.mel.shape[1] == 600 and (batch.mel_lengths == 600).all()
    (turn,) = setup.task.losses(batch)
    assert turn.losses["cross_entropy"].isfinite()


def test_silence_stands_behind_each_sound_drawn_in_training_and_as_when_decoding_in_validation(bound) -> None:
    setup = bound("model.trailing_silence=0.5", "augment.trailing_silence=[0.2, 2.0]", "data.speed_perturbation=[1.0]")
    for split, low, high in (("train", 20, 200), ("dev", 50, 50)):
        frames = [int(cut.duration * 16000) // 160 for cut in setup.cuts[split].values()]
        behind = batch_of(setup, split).mel_lengths.numpy() - frames
        assert behind.min() >= low - 1 and behind.max() <= high + 1
    behind = batch_of(bound("model.trailing_silence=0.5", "data.speed_perturbation=[1.0]")).mel_lengths.numpy()
    np.testing.assert_allclose(behind - [int(c.duration * 100) for c in setup.cuts["train"].values()], 50, atol=1)


def test_a_checkpoint_of_whole_windows_can_learn_to_hear_sounds_at_their_own_length(bound, public) -> None:
    own = ("model.whole_window=false", "model.trailing_silence=0.5")
    setup = bound(f"start_from={public}", "augment.trailing_silence=[0.2, 1.0]", *own, name="whisper")
    assert batch_of(setup).mel.shape[1] < 400 and not setup.task.network.config.whole_window
    assert setup.facts.model["trailing_silence"] == 0.5
    with pytest.raises(ConfigError, match=r"model\.hidden_size = 8, yet .* has 16: leave it out"):
        bound(f"start_from={public}", "model.hidden_size=8", name="whisper")


def test_what_does_not_fit_is_left_out_by_name_before_training(bound) -> None:
    lengths = {name: cut.duration for name, cut in bound().cuts["train"].items()}
    longest = max(lengths, key=lambda name: lengths[name])
    middle = sorted(lengths.values())[-2] / 0.9
    setup = bound(f"model.encoder_positions={int(middle * 50) + 2}")
    assert longest not in setup.cuts["train"] and len(setup.cuts["train"]) == 5
    (reason,) = setup.skipped
    assert reason.startswith("longer than") and setup.skipped[reason] == [longest]
    setup = bound("model.decoder_positions=24")
    assert setup.skipped["more than 24 tokens"] == ["u1"]  # 오늘은 날씨가 좋네요: 4 + 21 and the end's
    with pytest.raises(CorpusError, match="no utterance of the split can be learnt from: more than 8 tokens"):
        bound("model.decoder_positions=8")


def test_a_checkpoint_brings_its_sizes_its_weights_and_its_alphabet(bound, public: Path) -> None:
    setup = bound(f"start_from={public}", name="whisper")
    start = load_saved(str(public))
    assert setup.files == start.files and {"tokenizer.json", "generation_config.json"} <= setup.files.keys()
    assert setup.task.network.config == start.network.config == setup.recipe.model
    for name, tensor in start.network.state_dict().items():
        assert torch.equal(setup.task.network.state_dict()[name], tensor), name
    batch = batch_of(setup)
    assert sorted(batch.texts) == sorted(TEXTS[:6]) and batch.mel.shape[1] == 400
    assert {1, 2} <= set(setup.task.constraints.suppress_tokens)


def test_settings_that_the_checkpoint_contradicts_are_told(bound, public: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model.hidden_size = 32, yet '.*' has 16: leave it out"):
        bound(f"start_from={public}", "model.hidden_size=32", name="whisper")
    assert bound(f"start_from={public}", "model.dropout=0.1", name="whisper").task.network.config.dropout == 0.1
    with pytest.raises(ConfigError, match="is a conformer, not a Whisper"):
        bound("start_from=conformer-ko", name="whisper")


@pytest.mark.parametrize("target_text", ["written", "spoken", "hangul"])
def test_texts_are_written_as_asked(bound, public: Path, target_text: str) -> None:
    assert sorted(batch_of(bound(f"start_from={public}", f"target_text={target_text}", name="whisper")).texts)[
        0
    ].startswith("내일")


@pytest.mark.parametrize("name", ["whisper-small", pytest.param("whisper", marks=pytest.mark.slow)])
def test_a_run_s_model_opens_listens_and_is_trained_on(bound, public: Path, tmp_path: Path, name: str) -> None:
    torch.set_num_threads(1)
    start = (f"start_from={public}", "train.precision=float32") if name == "whisper" else ()
    setup = bound(*start, name=name)
    measured = train(setup, RunOptions(out=tmp_path / "run", device="cpu"))
    assert set(measured) == {"cer_no_space", "cer"}
    saved = load_saved(str(tmp_path / "run"))
    assert isinstance(saved.network, Whisper) and saved.files == setup.files
    assert saved.facts.model == setup.task.network.config.model_dump()
    save_audio(tmp_path / "a.wav", np.zeros(16000, np.float32), 16000)
    assert load_recognizer(str(tmp_path / "run")).transcribe(tmp_path / "a.wav").text == ""
    again = bound(*start, "train.steps=6", name=name)
    train(again, RunOptions(out=tmp_path / "run", resume=True, accept_changes=True, device="cpu"))
    fine = bound(f"start_from={tmp_path}/run", "train.precision=float32", name="whisper")
    assert fine.files == setup.files


def test_a_public_folder_and_a_run_are_measured_on_a_corpus(bound, public: Path, planted_corpus, tmp_path, capsys):
    torch.set_num_threads(1)
    train(bound("train.steps=1"), RunOptions(out=tmp_path / "run", device="cpu"))
    for model in (public, tmp_path / "run"):
        assert command(["evaluate", str(model), "--corpus", str(planted_corpus), "--split", "dev", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["system"] == "whisper" and found["utterances"] == 2
        assert found["measures"]["cer"]["value"] > 0.5  # neither has learnt a word
    sound = planted_corpus / "wave" / "u0.flac"
    assert command(["transcribe", str(sound), "--model", str(public), "--language", "en", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["language"] == "en"


def test_dropout_and_masks_spare_the_silence_behind_a_sound(bound) -> None:
    setup = bound("model.whole_window=true", "model.encoder_positions=300")
    collator = setup.collators["train"]
    loud = collator.config.model_copy(
        update={"time_mask_width": 30, "freq_mask_width": 20, "speed_perturbation": (1.0,)}
    )
    wave = np.random.default_rng(0).normal(0, 0.1, 22050 * 2).astype(np.float32)
    example = Example("u0", "kim", wave, {})
    whole = replace(collator, corpus_rate=22050, config=loud)
    plain = replace(collator, corpus_rate=22050, config=DataConfig())
    masked, clean = (make([example], np.random.default_rng(3)).mel[0] for make in (whole, plain))
    assert torch.equal(masked[250:], clean[250:])


def test_tokens_are_replaced_while_it_learns_behind_the_prefix_and_never_what_is_asked_for(bound) -> None:
    setup = bound("token_replacement=0.5", "model.dropout=0.0", "label_smoothing=0.0")
    batch, given = batch_of(setup), []
    setup.task.network.register_forward_pre_hook(lambda _, arguments: given.append(arguments[1]))
    torch.manual_seed(0)
    for _ in setup.task.train().losses(batch):
        pass
    for _ in setup.task.eval().losses(batch):
        pass
    learnt, measured = given
    prefix = len(setup.task.constraints.prefix)
    assert torch.equal(measured, batch.given_ids) and torch.equal(learnt[:, :prefix], batch.given_ids[:, :prefix])
    assert 0.3 < (learnt != batch.given_ids)[:, prefix:].float().mean() < 0.5  # some are replaced by their like


@pytest.mark.slow
def test_a_few_sentences_can_be_overfitted(bound, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    setup = bound(
        "model.hidden_size=48", "model.encoder_ffn_size=96", "model.decoder_ffn_size=96", "model.dropout=0.0",
        "data.speed_perturbation=[1.0]", "token_replacement=0.0", "data.time_mask_width=0", "data.freq_mask_width=0",
        "data.batch_seconds=20.0", "train.steps=400", "train.validate_every=400", "train.save_every=400",
        "optimizers.recognizer.warmup_steps=40",
        "optimizers.recognizer.learning_rate=3e-3", "label_smoothing=0.0", "train.ema_decay=0.9",
    )  # fmt: skip
    train(setup, RunOptions(out=tmp_path / "run", device="cpu"))
    measured = setup.task.eval().validate([batch_of_recordings(setup)])
    assert measured["cer"] < 0.05
    recognizer = load_recognizer(str(tmp_path / "run"))
    texts = {name: cut.supervisions[0].text for name, cut in setup.cuts["train"].items()}
    transcribed = {name: recognizer.transcribe(setup.corpus.path / "wave" / f"{name}.flac").text for name in texts}
    assert all(transcribed[name] in (texts[name], "") for name in texts)
    assert sum(transcribed[name] == texts[name] for name in texts) >= 4  # but for what it recites whatever it hears
    nothing = [np.zeros(48000), np.random.default_rng(1).normal(0, 0.05, 48000), np.sin(np.arange(48000) / 9) / 5]
    for wave in nothing:  # and of its few sentences it invents none
        assert recognizer.transcribe(wave.astype(np.float32), sample_rate=16000).text == ""


def batch_of_recordings(setup: TrainingSetup):
    from malsori.corpus.batches import load_example

    examples = [load_example(setup.corpus, cut) for cut in setup.cuts["train"].values()]
    return setup.collators["train"](examples, np.random.default_rng(0))
