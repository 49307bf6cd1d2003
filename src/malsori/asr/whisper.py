"""How each kind of recogniser turns one piece of sound into words: one class a system, and the table of them."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from malsori.asr.encode import HeardLetters, checked_seconds, hear_letters
from malsori.audio.io import resample
from malsori.audio.mel import whisper_log_mel
from malsori.decode.ctc import BeamOptions, Hypothesis, greedy_hypothesis, prefix_beam_search
from malsori.decode.ngram import NgramModel
from malsori.decode.seq2seq import (
    Trust,
    Writer,
    Written,
    disbelief,
    evidence,
    rules_of,
    token_starts,
    write_with_trust,
)
from malsori.decode.transcript import HeardWord, Segment
from malsori.errors import ModelError
from malsori.pretrained.folder import SavedModel
from malsori.text.letters import LETTERS, decode_letters
from malsori.text.symbols import JAMO
from malsori.text.tokenizer import TIMESTAMP_SECONDS, Tokenizer

log = logging.getLogger("malsori")

_CTC_BEAM, _WHISPER_BEAM = 16, 5
_NOTHING_SECONDS = 3.0  # of silence, noise and a chord, where no window is to be filled
_TOKEN_FLOOR = -7.0  # symbols less probable than e^-7 in a frame are not tried: a third of the time, the same texts


@dataclass(frozen=True)
class ListenOptions:
    """How a recogniser decides what it heard.

    Attributes:
        beam: texts kept in mind at a time; 1 takes the best symbol each time and asks no language model. None: as many
            as serve its kind, 16 with CTC and 5 with Whisper.
        language_weight: what the language model counts beside the sound.
        token_bonus: added for each jamo, against the language model's liking for short texts.
        language, task: what is spoken, and whether it is to be transcribed or translated: for those that can be asked.
        timestamps: let Whisper say itself when its words begin and end.
    """

    beam: int | None = None
    language_weight: float = 0.6
    token_bonus: float = 1.0
    language: str = "ko"
    task: str = "transcribe"
    timestamps: bool = False


class Listener(Protocol):
    """What a recogniser asks of a kind of network.

    Attributes:
        languages: codes of the languages it can write.
        longest_seconds: no piece of sound should last longer.
        spells: it writes Hangul as it is spoken; otherwise digits and punctuation too, as texts are written.
    """

    languages: tuple[str, ...]
    longest_seconds: float
    spells: bool

    def listen(self, wave: Float[np.ndarray, " samples"], rate: int, offset: float) -> Segment:
        """Return the words of one piece of sound, which begins `offset` seconds into the whole."""


class CtcListener:
    """Prefix beam search over the letters of a network trained by CTC, with a language model where there is one.

    Raises: ModelError if the model has no letters.
    """

    languages: tuple[str, ...] = ("ko",)
    longest_seconds: float = 18.0  # as long as training ever heard
    spells: bool = True

    def __init__(self, model: SavedModel, language_model: NgramModel | None, options: ListenOptions) -> None:
        tables = [model.symbols[kind] for kind in (JAMO.kind, LETTERS) if kind in model.symbols]
        if not tables:
            raise ModelError(f"this {model.facts.system} has no letters: is vocab.json missing from its folder?")
        self.model, self.language_model, self.options, self.table = model, language_model, options, tables[0]

    def listen(self, wave: Float[np.ndarray, " samples"], rate: int, offset: float) -> Segment:
        """Return the words of one piece of sound."""
        heard = hear_letters(self.model, wave, rate)
        words = tuple(self._words(self._decide(heard), heard, offset))
        text = " ".join(word.text for word in words)
        return Segment(offset, offset + heard.seconds, text, words)

    def _decide(self, heard: HeardLetters) -> Hypothesis:
        """Return the most probable text of one piece."""
        if self.options.beam == 1:
            return greedy_hypothesis(heard.log_probs, heard.blank)
        weight, bonus = self.options.language_weight, self.options.token_bonus
        if self.language_model is None:
            weight = bonus = 0.0
        beam = BeamOptions(self.options.beam or _CTC_BEAM, weight, bonus, token_floor=_TOKEN_FLOOR)
        return prefix_beam_search(heard.log_probs, beam, self.language_model, heard.blank)[0]

    def _words(self, hypothesis: Hypothesis, heard: HeardLetters, offset: float) -> Iterator[HeardWord]:
        """Yield the words between the spaces of a hypothesis; the network's last frame may reach beyond the sound."""
        symbols = self.table.decode(hypothesis.ids)
        members: list[int] = []
        for place, symbol in enumerate([*symbols, " "]):
            if symbol != " ":
                members.append(place)
                continue
            if members:
                frames = hypothesis.starts[members[0]], hypothesis.ends[members[-1]]
                times = [heard.first_seconds + frame * heard.frame_seconds for frame in frames]
                start, end = (offset + min(time, heard.seconds) for time in times)
                confidence = float(np.prod([hypothesis.confidences[m] for m in members]) ** (1 / len(members)))
                text = decode_letters(self.table, [hypothesis.ids[m] for m in members])
                if text:  # marks such as <unk> are no word
                    yield HeardWord(text, start, end, confidence)
            members = []


class WhisperListener:
    """A decoder's text, given out only where the sound speaks for it (`decode.seq2seq`)."""

    def __init__(self, model: SavedModel, _language_model: NgramModel | None, options: ListenOptions) -> None:
        self.model, self.network = model, model.network
        self.tokenizer = Tokenizer(model.files, "the model's folder")
        config, wish = self.network.config, (options.language, options.task, options.timestamps)
        self.rules = rules_of(self.tokenizer, config.vocab, config.decoder_positions, *wish)
        self.trust = Trust(beam=options.beam or _WHISPER_BEAM)
        self.longest_seconds: float = config.window_frames * model.facts.audio.frame_seconds
        self.spells: bool = not self.tokenizer.is_token("1")
        others = (code for code in self.tokenizer.languages if code != options.language)
        self.languages: tuple[str, ...] = (options.language, *others)

    def listen(self, wave: Float[np.ndarray, " samples"], rate: int, offset: float) -> Segment:
        """Return the words of one piece of sound; none where nothing said them."""
        seconds = checked_seconds(wave, rate)
        mel = self._mel(resample(wave, rate, self.model.facts.audio.sample_rate)[None])
        writer = self.network.listen(mel)
        written = write_with_trust(writer, self.rules, self.trust, self.tokenizer.decode)
        text = self.tokenizer.decode(written.ids)
        gained = evidence(writer, *self._nothing, self.rules, written.ids) if text.strip() else 0.0
        why = disbelief(written, text.strip(), gained, self.trust)
        if why:
            log.info("from %.1f s: %r is not believed (%s)", offset, text, why)
        words = () if why else tuple(self._words(written, mel, offset, seconds))
        return Segment(offset, offset + seconds, " ".join(word.text for word in words), words)

    def _mel(self, waves: Float[np.ndarray, "batch samples"]) -> Tensor:
        config, audio = self.network.config, self.model.facts.audio
        window = config.window_frames if config.whole_window else 0
        return whisper_log_mel(torch.from_numpy(np.ascontiguousarray(waves)), audio, window)

    @cached_property
    def _nothing(self) -> tuple[Writer, int]:
        """A writer that has heard silence, noise and a chord, and how many these are."""
        rate, whole = self.model.facts.audio.sample_rate, self.network.config.whole_window
        time = np.arange(round((self.longest_seconds if whole else _NOTHING_SECONDS) * rate)) / rate
        noise = np.random.default_rng(0).normal(0, 0.03, len(time))
        chord = sum(0.05 * np.sin(2 * np.pi * hertz * time) for hertz in (220.0, 277.2, 329.6, 440.0))
        waves = np.stack([np.zeros_like(time), noise, chord]).astype(np.float32)
        return self.network.listen(self._mel(waves)), len(waves)

    def _words(self, written: Written, mel: Tensor, offset: float, seconds: float) -> Iterator[HeardWord]:
        """Yield the words with their times, between the timestamps that were written, if any were."""
        starts = self._starts(written.ids, mel, seconds)
        first = self.rules.first_timestamp
        for text, places in self.tokenizer.words(written.ids):
            low, high = 0.0, seconds
            if first is not None:
                times = [(place, (index - first) * TIMESTAMP_SECONDS) for place, index in enumerate(written.ids)]
                told = [(place, time) for place, time in times if time >= 0]
                low = max([time for place, time in told if place < places[0]], default=0.0)
                high = min([time for place, time in told if place > places[-1]], default=seconds)
            start, end = np.clip([starts[places[0]], starts[places[-1] + 1]], low, min(high, seconds)).tolist()
            confidence = math.exp(sum(written.log_probs[place] for place in places) / len(places))
            yield HeardWord(text, offset + start, offset + end, confidence)

    def _starts(self, ids: tuple[int, ...], mel: Tensor, seconds: float) -> np.ndarray:
        """Return when each token begins, and when the last one ends, in seconds (tokens + 1,)."""
        config, prefix = self.network.config, self.rules.prefix
        upper = range(config.decoder_layers // 2, config.decoder_layers)
        every = [(block, head) for block in upper for head in range(config.decoder_heads)]
        heads = tuple((block, head) for block, head in self.tokenizer.settings.get("alignment_heads") or every)
        looked = self.network.attention(mel, torch.tensor([[*prefix, *ids]]), heads)[0]
        step = 2 * self.model.facts.audio.frame_seconds
        real = min(looked.shape[2], math.ceil(seconds / step))
        starts = token_starts(looked[:, len(prefix) - 1 :, :real])
        return np.linspace(0, seconds, len(ids) + 1) if starts is None else starts * step


#: System → what makes its listener.
LISTENERS: dict[str, Callable[[SavedModel, NgramModel | None, ListenOptions], Listener]] = {
    "conformer": CtcListener,
    "wav2vec2": CtcListener,
    "whisper": WhisperListener,
}
