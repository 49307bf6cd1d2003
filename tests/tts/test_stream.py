"""Phrases, pauses and chunks: silence as long as was asked for, and sound in pieces that is the whole."""

import math

import numpy as np
import pytest
import torch

from malsori.config import AudioConfig
from malsori.errors import OptionError, TextError
from malsori.models.excitation import ExcitationConfig
from malsori.models.hifigan import Hifigan, HifiganConfig
from malsori.models.vocos import Vocos, VocosConfig
from malsori.pretrained.folder import ModelFacts, SavedModel
from malsori.text.frontend import Frontend
from malsori.text.symbols import MAX_PHONEMES
from malsori.tts.markup import parse_markup
from malsori.tts.options import SayOptions
from malsori.tts.phrases import Phrase, plan_phrases, with_pauses
from malsori.tts.roles import SynthesisInput, SynthesisOutput
from malsori.tts.stream import limit, vocode_in_chunks
from malsori.tts.vocoders import GriffinLim, NetworkVocoder
from malsori.tts.voice import Voice

AUDIO = AudioConfig()
FRAME = AUDIO.frame_seconds
frontend = Frontend(morphology=False)


class Metronome:
    """A voice that says every phoneme in five frames, at speed 1; what it is asked is kept."""

    output = "mel"
    supports_prosody_control = True

    def __init__(self) -> None:
        self.facts = ModelFacts(
            system="fastspeech2", model={}, audio=AUDIO, audio_fingerprint=AUDIO.fingerprint(), speakers=("kim",)
        )
        self.asked: list[tuple[str, float]] = []

    def refuse_unsupported(self, options: SayOptions) -> None:
        if options.speaker not in (None, "kim"):
            raise OptionError("speaker")

    def synthesize(self, sentence: SynthesisInput, options: SayOptions) -> SynthesisOutput:
        self.asked.append((sentence.text, options.speed))
        durations = np.full(len(sentence.phonemes), max(1, round(5 / options.speed)))
        sounded = [symbol not in "^ ,.?!…" for symbol in sentence.phonemes]
        rows = np.repeat(np.where(sounded, -2.0, AUDIO.silence), durations)
        generator = np.random.default_rng(len(sentence.phonemes))
        mel = rows[:, None] + generator.normal(0, 0.5, (len(rows), AUDIO.mel_channels))
        return SynthesisOutput(durations, mel=mel.astype(np.float32))


def network_vocoder(system: str) -> NetworkVocoder:
    torch.manual_seed(3)
    sizes, network = {
        "vocos": (VocosConfig(hidden_size=16, num_layers=5), Vocos),
        "excited": (VocosConfig(hidden_size=16, num_layers=5, excitation=ExcitationConfig(num_layers=1)), Vocos),
        "hifigan": (HifiganConfig(channels=32), Hifigan),
        "excited-hifigan": (HifiganConfig(channels=32, excitation=ExcitationConfig(num_layers=1)), Hifigan),
    }[system]
    made = network(sizes).eval()
    for module in made.modules() if "hifigan" in system else ():  # it begins so near 0 that nothing would be seen
        if torch.nn.utils.parametrize.is_parametrized(module):
            module.weight = torch.randn(module.weight.shape) / math.sqrt(module.weight[0].numel())
    if made.excitation:  # voiced here and there, and loud
        torch.nn.init.normal_(made.excitation.head.weight, std=0.05)
    if system == "excited":
        torch.nn.init.normal_(made.head.weight, std=0.2)
        torch.nn.init.zeros_(made.head.bias)
    facts = ModelFacts(
        system="hifigan" if "hifigan" in system else "vocos",
        model=sizes.model_dump(),
        audio=AUDIO,
        audio_fingerprint=AUDIO.fingerprint(),
    )
    return NetworkVocoder(SavedModel(facts, {}, made))


@pytest.fixture(scope="module")
def vocos() -> NetworkVocoder:
    return network_vocoder("vocos")


def voice_with(vocoder: object) -> tuple[Voice, Metronome]:
    metronome = Metronome()
    voice = Voice(metronome, vocoder)  # type: ignore[arg-type]
    voice.frontend = frontend
    return voice, metronome


def silence_between(speech: object, first: int, second: int) -> float:
    words = speech.alignment.words  # type: ignore[attr-defined]
    return words[second].start - words[first].end


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.7, 3.0])
@pytest.mark.parametrize(
    "text",
    ["나무가 [pause:{}] 높다", "나무가 높다. [pause:{}] 바다가", "가 <prosody rate='fast'>[pause:{}] 나</prosody>"],
)
def test_between_two_words_it_is_silent_for_exactly_as_long_as_was_asked(
    vocos: NetworkVocoder, text: str, seconds: float
) -> None:
    voice, _ = voice_with(vocos)
    speech = voice.say(text.format(seconds))
    number = 1 if "높다." in text else 0
    assert silence_between(speech, number, number + 1) == pytest.approx(seconds, abs=FRAME)
    assert len(speech.wave) == len(speech.mel) * AUDIO.hop_samples
    assert speech.alignment.duration == pytest.approx(speech.seconds)


def test_pauses_at_the_ends_of_a_text_are_kept(vocos: NetworkVocoder) -> None:
    voice, _ = voice_with(vocos)
    speech = voice.say("[pause:1] 나무 [pause:2]")
    assert speech.alignment.words[0].start == pytest.approx(1, abs=FRAME)
    assert speech.seconds - speech.alignment.words[-1].end == pytest.approx(2, abs=FRAME)


def test_the_timing_shows_the_reading_and_the_word_as_it_was_written(vocos: NetworkVocoder) -> None:
    voice, _ = voice_with(vocos)
    alignment = voice.say("{COEX|코엑스}에서 [pause:0.7] 만나요").alignment
    assert [span.text for span in alignment.words] == ["COEX에서", "만나요"]
    assert "".join(span.text for span in alignment.syllables) == "코엑스에서만나요"


def test_another_rate_is_another_phrase_at_its_own_speed(vocos: NetworkVocoder) -> None:
    voice, metronome = voice_with(vocos)
    voice.say("나무가 <prosody rate='50%'>아주 높은</prosody> 산에 있다", SayOptions(speed=1.2))
    assert metronome.asked == [("나무가", 1.2), ("아주 높은", 0.6), ("산에 있다", 1.2)]


def test_a_line_is_a_sentence(vocos: NetworkVocoder) -> None:
    voice, metronome = voice_with(vocos)
    voice.say("나무가 높다\n바다가 깊다")
    assert [text for text, _ in metronome.asked] == ["나무가 높다", "바다가 깊다"]


def test_a_sentence_without_end_is_parted_at_commas_or_words() -> None:
    for text in ("나무가 높고, " * 80, "나무가 높고 " * 80):
        script = parse_markup(text)
        reading = frontend.read(script.text, given=script.given)
        phrases = plan_phrases(reading, script)
        assert len(phrases) > 1 and max(phrase.end - phrase.begin for phrase in phrases) <= MAX_PHONEMES
        assert [phrase.begin for phrase in phrases[1:]] == [phrase.end + 1 for phrase in phrases[:-1]]
        assert all(reading.phonemes[phrase.end] == "," for phrase in phrases[:-1]) or "," not in text


def test_a_wave_is_parted_within_its_pause_and_faded() -> None:
    hop = AUDIO.hop_samples
    wave = np.ones(12 * hop, dtype=np.float32)
    output = SynthesisOutput(np.array([2, 4, 4, 2]), wave=wave)
    longer = with_pauses(output, Phrase(1, 3, ".", pauses={2: 10 * FRAME}), AUDIO)
    assert longer.durations.tolist() == [2, 4, 10, 2] and longer.wave is not None
    middle = longer.wave[8 * hop : 14 * hop]
    assert len(longer.wave) == 18 * hop and not middle.any() and longer.wave[: 7 * hop].all()
    assert np.abs(np.diff(longer.wave)).max() < 0.02


@pytest.mark.parametrize("system", ["vocos", "excited", "hifigan", "excited-hifigan"])
def test_chunks_are_the_whole_phrase_and_the_context_is_no_wider_than_it_must_be(system: str) -> None:
    vocoder = network_vocoder(system)
    mel = np.random.default_rng(0).normal(-4, 2, (300, AUDIO.mel_channels)).astype(np.float32)
    whole = vocoder.vocode(mel)
    chunks = list(vocode_in_chunks(vocoder, mel))
    assert len(chunks) > 2 and np.abs(whole).max() > 0.01
    np.testing.assert_allclose(np.concatenate(chunks), whole, atol=1e-5 * float(np.abs(whole).max()))
    vocoder.context_frames = max(1, (vocoder.context_frames or 0) // (8 if system == "excited" else 4))
    assert np.abs(np.concatenate(list(vocode_in_chunks(vocoder, mel))) - whole).max() > 1e-4 * np.abs(whole).max()


@pytest.mark.parametrize("kind", ["vocos", "griffin-lim"])
def test_what_is_streamed_is_what_is_said(vocos: NetworkVocoder, kind: str) -> None:
    text = "나무가 높다. 바다가 [pause:0.3] 깊다!\n가자 " + "저 넓은 들판으로 " * 6
    voice, _ = voice_with(vocos if kind == "vocos" else GriffinLim(AUDIO))
    chunks, whole = list(voice.stream(text)), voice.say(text).wave
    np.testing.assert_allclose(np.concatenate([chunk.wave for chunk in chunks]), whole, atol=1e-4)
    starts = np.cumsum([0, *(len(chunk.wave) for chunk in chunks[:-1])]) / AUDIO.sample_rate
    assert [chunk.start for chunk in chunks] == pytest.approx(starts.tolist())
    assert sorted({chunk.phrase for chunk in chunks}) == [0, 1, 2]
    assert len(chunks) > 3 or kind == "griffin-lim"


def test_the_first_sound_comes_before_the_second_sentence_is_made(vocos: NetworkVocoder) -> None:
    voice, metronome = voice_with(vocos)
    stream = voice.stream("나무가 높다. 바다가 깊다.")
    assert not metronome.asked
    assert next(stream).start == 0.0 and len(metronome.asked) == 1


def test_what_cannot_be_said_is_refused_before_the_first_chunk(vocos: NetworkVocoder) -> None:
    voice, _ = voice_with(vocos)
    with pytest.raises(OptionError):
        voice.stream("나무", SayOptions(speaker="lee"))
    with pytest.raises(TextError, match="nothing to say"):
        voice.stream("...")


def test_what_is_not_served_is_told(vocos: NetworkVocoder, caplog: pytest.LogCaptureFixture) -> None:
    voice, _ = voice_with(vocos)
    voice.say("<emphasis>나무</emphasis>")
    assert "<emphasis>" in caplog.text


def test_only_what_would_be_clipped_is_bent() -> None:
    wave = np.linspace(-3, 3, 601, dtype=np.float32)
    bent = limit(wave)
    assert np.abs(bent).max() <= 1 and (np.diff(bent) >= 0).all()
    kept = np.abs(wave) <= 0.9
    assert np.array_equal(bent[kept], wave[kept]) and limit(wave[kept]) is not None
    assert math.isclose(float(bent[-1]), -float(bent[0]))
