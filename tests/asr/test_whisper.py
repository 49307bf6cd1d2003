"""Whisper as a recognizer: words where they were said, none where nobody spoke, each sound cut to its window."""

import gc
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
from torch import Tensor, nn

from malsori.asr.longform import SpeechWindow, WindowPiece
from malsori.asr.options import DecodingOptions
from malsori.asr.recognizer import Recognizer, load_recognizer
from malsori.asr.whisper import _reference_states
from malsori.audio.io import save_audio
from malsori.cli import run
from malsori.config import WHISPER_AUDIO
from malsori.decode.transcript import Transcript, TranscriptWord
from malsori.errors import ModelError, OptionError
from malsori.models.whisper import Whisper, WhisperConfig
from malsori.pretrained.folder import ModelFacts, SavedModel, save_model
from malsori.text.tokenizer import Tokenizer, jamo_files, vocab_size

RATE = 16000
THANKS = "시청해주셔서 감사합니다"
#: A tone says a word; its frequency falls into a mel channel that nothing else reaches.
WORDS_HZ = {"나무": 900.0, "하늘": 2500.0}


def timed_files() -> dict[str, bytes]:
    """An alphabet of jamo with the times of half a minute behind it."""
    files = jamo_files()
    pieces = tokenizers.Tokenizer.from_str(files["tokenizer.json"].decode())
    pieces.add_tokens([f"<|{index * 0.02:.2f}|>" for index in range(1501)])
    return files | {"tokenizer.json": pieces.to_str().encode()}


FILES = timed_files()
TOKENS = Tokenizer(FILES)


def tone(word: str, seconds: float = 0.6) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * WORDS_HZ[word] * time)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1e-5, round(seconds * RATE)).astype(np.float32)


@dataclass(frozen=True)
class PlantedState:
    """Decodes the planted texts, a row each, however it is stepped; rows of one sound stay rows of it.

    Attributes:
        texts: tokens and how sure of them the decoder is, a sound each.
        words: of each sound, with their first and last steps of 20 ms.
        steps: of each sound.
    """

    texts: tuple[tuple[tuple[int, ...], float], ...]
    words: tuple[tuple[tuple[str, int, int], ...], ...]
    steps: int
    said: tuple[tuple[int, ...], ...] = ((),)

    def step(self, token_ids: Tensor) -> tuple[Tensor, "PlantedState"]:
        rows = len(token_ids)
        texts, said = (part * rows if len(part) == 1 else part for part in (self.texts, self.said))
        logits, after = torch.zeros(rows, token_ids.shape[1], vocab_size(FILES)), []
        for row, (new, (text, surety), before) in enumerate(zip(token_ids.tolist(), texts, said, strict=True)):
            after.append((*before, *new))
            for place in range(len(new)):
                count = len(before) + place - 2  # how much stands behind the prefix
                behind = count - (TOKENS.no_timestamps in after[-1][:4])
                logits[row, place, (*text, TOKENS.end)[min(max(behind, 0), len(text))]] = surety
        return logits, replace(self, said=tuple(after))

    def select(self, rows: Tensor) -> "PlantedState":
        kept = rows.tolist()
        texts = self.texts if len(self.texts) == 1 else tuple(self.texts[row] for row in kept)
        return replace(self, texts=texts, said=tuple(self.said[row] for row in kept))

    def score(self, token_ids: Tensor, heads) -> tuple[Tensor, Tensor]:
        """Every head looks where the word lies, from the token before each of its own; at silence none looks."""
        words, timestamps = self.words[0], TOKENS.no_timestamps not in token_ids[0, :4]
        attention = torch.zeros(1, len(heads), token_ids.shape[1], self.steps)
        place = len(TOKENS.prefix("ko", timestamps=timestamps)) - 1
        for number, (word, first, last) in enumerate(words):
            place += timestamps  # the one before the word
            count = len(TOKENS.encode(word)) + (number > 0 and not timestamps)
            edges = np.linspace(first, last + 1, count + 1).round().astype(int)
            for token in range(count):
                attention[0, :, place + token, edges[token] : edges[token + 1]] = 1.0
            place += count + timestamps
        attention[0, :, place, words[-1][2] + 1 if words else 0 :] = 1.0
        return self.step(token_ids)[0], attention


def whole(**options) -> DecodingOptions:
    """Options for tones, which no voice activity detector takes for speech."""
    return DecodingOptions(vad=False, **options)


class Ear(nn.Module):
    """Decodes the words of the tones in its sounds, and thanks its viewers where there are none."""

    def __init__(self, murmur: float, timestamps: bool = False) -> None:
        super().__init__()
        self.config = WhisperConfig(
            vocab=vocab_size(FILES),
            encoder_positions=500,
            num_decoder_layers=2,
            num_decoder_heads=1,
            decoder_positions=40,
        )
        self.murmur, self.timestamps, self.encoded = murmur, timestamps, 0

    def words(self, mel: Tensor) -> list[tuple[str, int, int]]:
        """Return words with their first and last steps of 20 ms."""
        found: list[tuple[str, int, int]] = []
        frames = mel[::2].numpy()
        for word, hertz in WORDS_HZ.items():
            level = frames[:, self._band(hertz)]
            loud = np.flatnonzero((level > 0.4) & (level - frames.mean(1) > 0.6))
            runs = np.split(loud, np.flatnonzero(np.diff(loud) > 1) + 1)
            found += [(word, int(run[0]), int(run[-1])) for run in runs if len(run) > 6]
        return sorted(found, key=lambda one: one[1])

    @staticmethod
    def _band(hertz: float) -> int:
        from malsori.audio.mel import whisper_log_mel

        wave = torch.sin(2 * torch.pi * hertz * torch.arange(8000) / RATE)[None]
        return int(whisper_log_mel(wave, WHISPER_AUDIO)[0, 10].argmax())

    def ids(self, words: list[tuple[str, int, int]]) -> tuple[int, ...]:
        ids: list[int] = []
        for number, (word, first, last) in enumerate(words):
            spaced = TOKENS.encode(word if number == 0 or self.timestamps else f" {word}")
            times = [TOKENS.first_timestamp + step for step in (first, last + 1)]
            ids += [times[0], *spaced, times[1]] if self.timestamps else spaced
        return tuple(ids)

    def start(self, mel: Tensor, _lengths: Tensor | None = None) -> PlantedState:
        assert mel.shape[1] == self.config.window_frames
        self.encoded += len(mel)
        words = [self.words(row) for row in mel]
        thanks = (tuple(TOKENS.encode(THANKS)), self.murmur)
        texts = tuple((self.ids(said), 12.0) if said else thanks for said in words)
        return PlantedState(texts, tuple(map(tuple, words)), mel.shape[1] // 2)


def recognizer(murmur: float = 8.0, timestamps: bool = False) -> Recognizer:
    network = Ear(murmur, timestamps)
    audio = WHISPER_AUDIO
    facts = ModelFacts(
        system="whisper", model=network.config.model_dump(), audio=audio, audio_fingerprint=audio.fingerprint()
    )
    return Recognizer(SavedModel(facts, {}, network, files=FILES))


def times(transcript) -> list[tuple[str, float, float]]:
    return [(word.text, word.start, word.end) for segment in transcript.segments for word in segment.words]


@pytest.mark.parametrize("beam", [None, 1])
def test_words_are_found_where_they_were_said(beam: int | None) -> None:
    wave = np.concatenate([silence(0.4), tone("나무"), silence(0.5), tone("하늘"), silence(0.5)])
    transcript = recognizer().transcribe(wave, whole(beam=beam), sample_rate=RATE)
    assert transcript.text == "나무 하늘" and transcript.language == "ko"
    (first, begin, _), (second, start, end) = times(transcript)
    assert (first, second) == ("나무", "하늘")
    np.testing.assert_allclose([begin, start, end], [0.4, 1.5, 2.1], atol=0.13)
    assert all(0.9 < word.confidence <= 1 for word in transcript.segments[0].words)


def test_times_that_the_decoder_writes_itself_bound_its_words() -> None:
    wave = np.concatenate([silence(0.4), tone("나무"), silence(0.5), tone("하늘"), silence(0.5)])
    found = times(recognizer(timestamps=True).transcribe(wave, whole(timestamps=True), sample_rate=RATE))
    assert [word for word, _, _ in found] == ["나무", "하늘"]
    np.testing.assert_allclose([row[1:] for row in found], [(0.4, 1.0), (1.5, 2.1)], atol=0.05)


def test_a_silence_between_two_words_belongs_to_none_of_them() -> None:
    """The window holds what a detector has found; the times are the sound's."""
    pieces = (WindowPiece(0.0, 1.2, 5.0, 0.3, 0.9), WindowPiece(1.2, 2.4, 65.0, 1.5, 2.1))
    wave = np.concatenate([silence(0.3), tone("나무"), silence(0.6), tone("하늘"), silence(0.3)])
    window = SpeechWindow(wave, pieces)
    one = recognizer()
    segments = list(window.segments(one.decoder.decode(window, DecodingOptions())))
    found = [(word.text, word.start, word.end) for segment in segments for word in segment.words]
    assert [word for word, _, _ in found] == ["나무", "하늘"] and len(segments) == 2
    np.testing.assert_allclose([row[1:] for row in found], [(5.3, 5.9), (66.5, 67.1)], atol=0.13)


def test_what_came_before_and_hotwords_are_read_before_the_sound_is_heard() -> None:
    one = recognizer()
    wave = np.concatenate([silence(0.4), tone("나무"), silence(0.5)])
    with pytest.raises(OptionError, match="prompt: this whisper has no token for a text that came before"):
        one.transcribe(wave, whole(prompt="하늘"), sample_rate=RATE)
    pieces = tokenizers.Tokenizer.from_str(FILES["tokenizer.json"].decode())
    pieces.add_special_tokens(["<|startofprev|>"])
    before = Tokenizer(FILES | {"tokenizer.json": pieces.to_str().encode()})
    one.decoder.tokenizer = before
    constraints = one.decoder._constraints(DecodingOptions(prompt="하늘", hotwords=("나무", "바다")))
    assert constraints.prefix[0] == before.special("<|startofprev|>")
    assert constraints.prefix[constraints.start :] == before.prefix("ko")
    assert before.decode(constraints.prefix).strip() == "나무 바다 하늘"
    long = one.decoder._constraints(DecodingOptions(prompt="하늘 " * 100 + "끝"))
    assert len(long.prefix) < 30 and before.decode(long.prefix).endswith("끝") and long.max_new_tokens > 10


def test_the_recognizer_says_which_language_it_hears_where_it_is_asked_to() -> None:
    one = recognizer()
    wave = np.concatenate([silence(0.4), tone("나무"), silence(0.5)])
    transcript = one.transcribe(wave, whole(language="auto"), sample_rate=RATE)
    assert transcript.language == "ko" and transcript.text == "나무"
    assert one.transcribe(NOTHING["silence"], DecodingOptions(language="auto"), sample_rate=RATE).language == "ko"


def test_what_was_written_is_read_before_the_next_window_only_where_that_is_wanted(monkeypatch) -> None:
    one, asked = recognizer(), []
    wave = np.concatenate([piece for word in ("나무", "하늘") * 3 for piece in (tone(word, 0.8), silence(2.0))])

    def decode(window: SpeechWindow, options: DecodingOptions) -> tuple[TranscriptWord, ...]:
        asked.append(options.prompt)
        return (TranscriptWord(f"말{len(asked)}", 0.5, 1.0, 0.9),)

    monkeypatch.setattr(one.decoder, "decode", decode)
    monkeypatch.setattr(one.decoder, "check", lambda options: None)
    one.transcribe(wave, whole(), sample_rate=RATE)
    assert len(asked) > 1 and set(asked) == {None}
    asked.clear()
    one.transcribe(wave, whole(condition_on_previous_text=True, prompt="처음"), sample_rate=RATE)
    assert asked[:2] == ["처음", "처음 말1"]


def music(seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    notes = [sum(np.sin(2 * np.pi * hertz * k * time) / k for k in (1, 2)) for hertz in (196.0, 293.7, 392.0)]
    return (0.05 * sum(notes) * (0.6 + 0.4 * np.sin(2 * np.pi * 2 * time))).astype(np.float32)


NOTHING = {
    "silence": np.zeros(3 * RATE, np.float32),
    "a quiet room": silence(3.0),
    "noise": np.random.default_rng(1).normal(0, 0.1, 3 * RATE).astype(np.float32),
    "music": music(3.0),
}


@pytest.mark.parametrize("murmur", [2.0, 20.0])
@pytest.mark.parametrize("kind", NOTHING)
def test_a_decoder_that_thanks_its_viewers_wherever_nobody_speaks_is_rejected(kind: str, murmur: float, caplog):
    with caplog.at_level("INFO", logger="malsori"):
        transcript = recognizer(murmur).transcribe(NOTHING[kind], whole(), sample_rate=RATE)
    assert transcript.text == "" and transcript.segments == ()
    assert "is rejected: log-likelihood ratio" in caplog.text or "is rejected: loop" in caplog.text


def test_sound_longer_than_the_window_is_cut_at_its_quiet_places() -> None:
    said = ["나무", "하늘"] * 5
    wave = np.concatenate([piece for word in said for piece in (tone(word, 0.8), silence(2.0))])  # 28 s
    transcript = recognizer().transcribe(wave, whole(beam=1), sample_rate=RATE)
    assert transcript.text.split() == said
    assert len(transcript.segments) >= 3
    assert all(segment.end - segment.start <= 10.0 for segment in transcript.segments)
    starts = [start for _, start, _ in times(transcript)]
    np.testing.assert_allclose(starts, 2.8 * np.arange(10), atol=0.2)


def test_a_recognizer_that_writes_digits_is_scored_by_how_they_are_read(monkeypatch) -> None:
    from malsori.evaluation.results import Judge
    from malsori.text.frontend import Frontend

    one = recognizer()
    one.frontend = Frontend(morphology=False)
    assert one.decoder.output_is_normalized
    monkeypatch.setattr(one, "transcribe", lambda *_, **__: Transcript("3개, 있어요!", "ko", 1.0, ()))
    assert Judge(one, mos=False).transcript(silence(1.0), RATE, "세 개 있어요") == "3개, 있어요!"
    one.decoder.output_is_normalized = False
    assert Judge(one, mos=False).transcript(silence(1.0), RATE, "세 개 있어요") == "세 개 있어요"
    monkeypatch.setattr(one, "transcribe", lambda *_, **__: Transcript("나무 क", "ko", 1.0, ()))
    assert Judge(one, mos=False).transcript(silence(1.0), RATE, "나무") == "나무"


def test_what_a_checkpoint_cannot_be_asked_is_refused() -> None:
    sound = NOTHING["silence"]
    with pytest.raises(OptionError, match="language 'de': this recognizer knows ko"):
        recognizer().transcribe(sound, DecodingOptions(language="de"), sample_rate=RATE)
    with pytest.raises(OptionError, match="token_bonus: a whisper has no such option; it has beam, best_of"):
        recognizer().transcribe(sound, DecodingOptions(token_bonus=1.0), sample_rate=RATE)
    one = recognizer()
    one.decoder.tokenizer = Tokenizer(FILES | {"generation_config.json": b'{"is_multilingual": false}'})
    with pytest.raises(OptionError, match="task 'translate': this whisper knows English alone"):
        one.transcribe(sound, DecodingOptions(task="translate"), sample_rate=RATE)


def test_a_threshold_decides_what_is_given_out() -> None:
    one, sound = recognizer(20.0), NOTHING["noise"]
    assert one.transcribe(sound, whole(), sample_rate=RATE).text == ""
    anything = whole(min_log_likelihood_ratio=-float("inf"))
    assert one.transcribe(sound, anything, sample_rate=RATE).text == THANKS
    assert one.transcribe(sound, whole(min_log_likelihood_ratio=-0.1), sample_rate=RATE).text == THANKS
    loop = whole(min_log_likelihood_ratio=-float("inf"), compression_ratio_threshold=0.1)
    assert one.transcribe(sound, loop, sample_rate=RATE).text == ""


def test_sounds_without_speech_are_encoded_when_a_text_needs_them_and_once_a_network() -> None:
    one = recognizer()
    network = one.model.network
    wave = np.concatenate([silence(0.4), tone("나무"), silence(0.5)])
    one.transcribe(wave, whole(min_log_likelihood_ratio=-float("inf")), sample_rate=RATE)
    assert network.encoded == 1  # the sound alone
    assert one.transcribe(wave, whole(), sample_rate=RATE).text == "나무"
    assert network.encoded == 2 + 3
    again = Recognizer(one.model)
    assert again.transcribe(wave, whole(), sample_rate=RATE).text == "나무"
    assert network.encoded == 5 + 1
    before = len(_reference_states)
    del one, again, network
    gc.collect()
    assert len(_reference_states) < before  # they go with the network


def test_threads_with_different_options_on_one_recognizer_get_what_each_gets_alone(tmp_path: Path) -> None:
    one = load_recognizer(str(small_folder(tmp_path / "whisper", jamo_files())))
    sounds = [np.random.default_rng(seed).normal(0, 0.1, 2 * RATE).astype(np.float32) for seed in range(3)]
    accepting = {"min_log_likelihood_ratio": -float("inf"), "compression_ratio_threshold": 1000.0}
    asked = [
        whole(beam=1, temperatures=(0.0,), **accepting),
        whole(beam=4, temperatures=(0.0,), **accepting),
        whole(temperatures=(1.0,), **accepting),
        whole(beam=2),
    ]
    jobs = [(sound, options) for sound in sounds for options in asked]
    alone = [one.transcribe(sound, options, sample_rate=RATE) for sound, options in jobs]
    assert len({transcript.text for transcript in alone}) > 4  # the options do matter
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda job: one.transcribe(job[0], job[1], sample_rate=RATE), jobs * 2))
    assert found == alone * 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_decodes_as_the_cpu_does(tmp_path: Path) -> None:
    folder = str(small_folder(tmp_path / "whisper", jamo_files()))
    wave = np.random.default_rng(3).normal(0, 0.1, 2 * RATE).astype(np.float32)
    anything = {"min_log_likelihood_ratio": -1e9, "compression_ratio_threshold": 1000.0, "temperatures": (0.0,)}
    for beam in (1, 4):  # the ratio is asked, so the sounds without speech are encoded on the GPU too
        asked = whole(beam=beam, **anything)
        a, b = (load_recognizer(folder, device).transcribe(wave, asked, sample_rate=RATE) for device in ("cpu", "cuda"))
        assert a.text and a.text == b.text
        np.testing.assert_allclose([row[1:] for row in times(a)], [row[1:] for row in times(b)], atol=0.05)


def small_folder(path: Path, files: dict[str, bytes]) -> Path:
    """Save a tiny Whisper with wild random weights, which babbles at anything."""
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab=vocab_size(jamo_files()), mel_channels=80, hidden_size=16, num_encoder_layers=1, num_encoder_heads=2,
        encoder_ffn_size=16, encoder_positions=150, num_decoder_layers=2, num_decoder_heads=2, decoder_ffn_size=16,
        decoder_positions=20,
    )  # fmt: skip
    network = Whisper(config)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(4)
    audio = WHISPER_AUDIO
    facts = ModelFacts(system="whisper", model=config.model_dump(), audio=audio, audio_fingerprint=audio.fingerprint())
    save_model(SavedModel(facts, {}, network, files=files), path)
    return path


def test_a_folder_listens_at_the_command_line_and_says_nothing_where_nobody_speaks(tmp_path: Path, capsys) -> None:
    folder = small_folder(tmp_path / "whisper", jamo_files())
    for number, wave in enumerate((NOTHING["silence"], NOTHING["a quiet room"])):
        save_audio(tmp_path / f"{number}.wav", wave, RATE)
        told = ["transcribe", str(tmp_path / f"{number}.wav"), "--model", str(folder), "--json", "--no-vad"]
        assert run(told) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["text"] == "" and said["segments"] == [] and said["duration"] == pytest.approx(3.0)
    assert run([*told, "--language", "en"]) == 2
    assert "language 'en': this recognizer knows ko" in capsys.readouterr().err


def test_a_folder_without_its_tokenizer_does_not_listen(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no tokenizer\.json beside the weights"):
        load_recognizer(str(small_folder(tmp_path / "whisper", {})))
