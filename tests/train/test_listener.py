"""What a voice learns from texts that nobody has recorded."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from malsori.audio.mel import log_mel, whisper_log_mel
from malsori.audio.resampling import resample
from malsori.config import WHISPER_AUDIO, AudioConfig
from malsori.corpus.batches import SpeakBatch, SpeakCollator, on_device
from malsori.errors import ConfigError
from malsori.models.conformer import Conformer, ConformerConfig
from malsori.pretrained.hub import load_saved
from malsori.text.frontend import Frontend
from malsori.train.broken import save_broken
from malsori.train.fastspeech2 import _drawn_frames
from malsori.train.listener import (
    ConformerListener,
    Listener,
    SoundHearing,
    SpeakAndTextCollator,
    at_other_rate,
    text_batch,
    text_lines,
    unrecorded_texts,
)
from malsori.train.listeners import open_listener
from malsori.tts.voice import load_voice

FRONTEND = Frontend(morphology=False)


@pytest.fixture(scope="module")
def listeners() -> dict[str, Listener]:
    audio = load_voice("fastspeech2-ko").acoustic.facts.audio
    return {name: open_listener(name, audio) for name in ("conformer-ko", "whisper-base-ko")}


def test_what_judges_and_what_listens_teach_the_network_and_are_not_shipped(small_run, small_setup, tmp_path) -> None:
    task = small_setup(name="fastspeech2-finetune-small").task
    turns = {}
    for turn in task.losses(task.example()):
        sum(turn.losses.values()).backward()
        turns[turn.name] = set(turn.losses)
        judges = [parameter.grad for parameter in task.discriminator.parameters()]
        if turn.name == "discriminator":
            assert all(parameter.grad is None for parameter in task.network.parameters())
            task.zero_grad()
        else:
            assert not any(judges) and all(p.grad is not None for p in task.network.decoder.parameters())
    losses = {"mel", "duration", "pitch", "energy", "adversarial", "feature_matching", "jamo_ctc", "phoneme_ctc"}
    assert turns == {"discriminator": {"adversarial"}, "acoustic": losses}
    save_broken(tmp_path / "broken.safetensors", [task.example()], ["a"], "loss is nan")
    assert {"0.mel", "0.texts.targets.jamo_ids"} <= load_file(tmp_path / "broken.safetensors").keys()
    recognizer = task.train().listener.recognizer
    assert all(p.grad is None for p in recognizer.parameters()) and not recognizer.training
    assert not any("listener" in name for name in task.state_dict())
    assert task.to(torch.float64).listener.recognizer.config and next(recognizer.parameters()).dtype == torch.float64
    once = ("train.steps=1", "train.validate_every=1", "train.contributions_every=9")
    folder = small_run("tuned", *once, name="fastspeech2-finetune-small")
    assert load_saved(str(folder)).network.state_dict().keys() == task.network.state_dict().keys()


def test_what_is_judged_is_one_length_and_no_padding_and_reaches_the_ends() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([5, 9, 7])
    drawn = torch.stack([_drawn_frames(lengths) for _ in range(60)])
    assert drawn.shape == (60, 3, 5) and (drawn.diff(dim=2) == 1).all()
    assert drawn.amin((0, 2)).tolist() == [0, 0, 0] and drawn.amax((0, 2)).tolist() == [4, 8, 6]


def test_a_mel_at_another_rate_is_drawn_between_its_frames_and_forgets_padding() -> None:
    mel = torch.randn(2, 30, 4, generator=torch.Generator().manual_seed(0))
    for ratio in (25600 / 22050, 0.5, 1.0):
        drawn, lengths = at_other_rate(mel, torch.tensor([30, 17]), ratio)
        for one, of, length in zip(mel, (30, 17), lengths.tolist(), strict=True):
            scale = {"scale_factor": ratio, "recompute_scale_factor": False}
            wanted = torch.nn.functional.interpolate(one[:of].T[None], mode="linear", **scale)[0].T
            row = 0 if of == 30 else 1
            assert length == round(of * ratio)
            torch.testing.assert_close(drawn[row, : min(length, len(wanted))], wanted[:length])


@pytest.mark.parametrize(
    ("recognizer", "heard"),
    [("conformer-ko", {"jamo_ctc": 1.5, "phoneme_ctc": 1.5}), ("whisper-base-ko", {"token_cross_entropy": 1.7})],
)
def test_it_hears_the_built_in_voice_say_a_text_and_not_another(listeners, recognizer, heard) -> None:
    voice, text = load_voice("fastspeech2-ko"), "오늘은 날씨가 참 좋네요."
    listener = listeners[recognizer]
    said = torch.from_numpy(voice.say(text).mel)[None].requires_grad_()
    losses = []
    for claimed in (text, "내일 저녁에 다시 전화할게요."):
        texts = text_batch(unrecorded_texts([claimed], FRONTEND, listener.hearing), torch.tensor([0]), listener.hearing)
        losses.append(listener(said, torch.tensor([said.shape[1]]), texts))
    assert losses[0].keys() == heard.keys()
    for name, most in heard.items():
        assert losses[0][name] < most and losses[1][name] > 2.5 * losses[0][name], name
    sum(losses[0].values()).backward()
    assert said.grad.abs().sum() > 0 and all(p.grad is None for p in listener.recognizer.parameters())


def test_a_whisper_hears_of_a_voices_mel_what_it_hears_of_the_sound(listeners) -> None:
    voice = load_voice("fastspeech2-ko")
    audio, listener = voice.acoustic.facts.audio, listeners["whisper-base-ko"]
    speech = voice.say("오늘은 날씨가 참 좋네요.")
    mel = log_mel(torch.from_numpy(speech.wave)[None], audio)
    at_its_rate, lengths = at_other_rate(mel, torch.tensor([mel.shape[1]]), listener.ratio)
    found = listener.whisper_mel(at_its_rate, lengths)[0, : int(lengths)]
    wave = resample(speech.wave, audio.sample_rate, WHISPER_AUDIO.sample_rate)
    wanted = whisper_log_mel(torch.from_numpy(wave)[None], WHISPER_AUDIO)[0, : int(lengths)]
    difference = found[: len(wanted)] - wanted
    assert difference.abs().mean() < 0.12 and abs(difference.mean()) < 0.04  # of a range of 2


def test_a_whisper_is_asked_of_each_text_alone_what_stands_behind_the_prefix(listeners) -> None:
    hearing = listeners["whisper-base-ko"].hearing
    long, short = (hearing.target(text, FRONTEND) for text in ("오늘은 날씨가 참 좋네요.", "네."))
    batch, prefix = hearing.batch([long, short]), len(hearing.constraints.prefix)
    assert batch.target_ids[1][batch.judged[1]].tolist() == short[prefix:]
    assert batch.given_ids[0].tolist() == long[:-1] and int(batch.judged[0].sum()) == len(long) - prefix
    assert hearing.target("15킬로그램입니다.", FRONTEND) is None and hearing.target("  ", FRONTEND) is None


def test_a_text_that_cannot_be_spelt_in_its_frames_costs_nothing() -> None:
    listener = ConformerListener(Conformer(ConformerConfig(num_layers=2, phoneme_ctc_layer=1)), *[AudioConfig()] * 2)
    texts = text_batch(
        unrecorded_texts(["아주 긴 문장입니다."], FRONTEND, SoundHearing()), torch.tensor([0]), SoundHearing()
    )
    mel = torch.randn(1, 4, 80, requires_grad=True)
    losses = listener(mel, torch.tensor([4]), texts)
    sum(losses.values()).backward()
    assert [loss.item() for loss in losses.values()] == [0.0, 0.0] and not mel.grad.any()


class NoSpeech(SpeakCollator):
    def __call__(self, examples, random) -> SpeakBatch:
        return SpeakBatch(*[torch.zeros(1)] * 8)


def test_texts_are_drawn_by_the_seed_each_by_a_speaker_of_the_voice(small_setup, tmp_path) -> None:
    (tmp_path / "texts.txt").write_text("가나다\n\n라마바사\n아자차카\n", encoding="utf-8")
    settings = (f"texts={tmp_path}/texts.txt", "texts_batch_size=5")
    collate = small_setup(*settings, name="fastspeech2-finetune-small").collators["train"]
    assert isinstance(collate, SpeakAndTextCollator) and len(collate.texts) == 3
    alone = small_setup().collators["train"]
    assert not isinstance(alone, SpeakAndTextCollator)
    voices = SpeakAndTextCollator(NoSpeech(("a", "b", "c"), {}), collate.texts, 5, SoundHearing())
    first, same, other = (voices([], np.random.default_rng(seed)).texts for seed in (1, 1, 2))
    assert torch.equal(first.token_ids, same.token_ids) and first.token_ids.shape[0] == 5
    assert not torch.equal(first.speaker_ids, other.speaker_ids) and int(other.speaker_ids.max()) <= 2
    assert on_device(voices([], np.random.default_rng(1)), torch.device("meta")).texts.targets.jamo_ids.is_meta


def test_what_cannot_be_said_is_left_out_and_told(caplog) -> None:
    with caplog.at_level("INFO", "malsori"):
        texts = unrecorded_texts(["가방", "!?", "가" * 200, "\u200b", "나비"], FRONTEND, SoundHearing())
    assert [text.target.text for text in texts] == ["가방", "나비"] and "3 lines left out" in caplog.text
    with pytest.raises(ConfigError, match="no line can be read"):
        unrecorded_texts(["...", ""], FRONTEND, SoundHearing())


def test_without_a_file_the_recordings_own_texts_are_taken(small_setup) -> None:
    setup = small_setup()
    lines = text_lines("", setup.cuts["train"])
    assert set(lines) == {cut.supervisions[0].text for cut in setup.cuts["train"].values()}


def test_what_cannot_listen_is_refused(small_setup) -> None:
    with pytest.raises(ConfigError, match="is a vocos; a conformer can listen, such as conformer-ko, or a whisper"):
        open_listener("vocos-ko", AudioConfig())
    network = load_saved("conformer-ko").network
    with pytest.raises(ConfigError, match=r"audio.max_hz is 8000.0 in the recognizer and 7600.0 in the voice"):
        ConformerListener(network, AudioConfig(), AudioConfig(max_hz=7600.0))
    with pytest.raises(ConfigError, match="without listener"):
        small_setup("texts=a.txt")
