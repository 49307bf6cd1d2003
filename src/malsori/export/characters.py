"""A voice as one graph from characters to the wave, which other programs number by a table and know nothing else of.

    numbers of characters ─► phonemes ─► bounds of words tidied, blanks ─► voice ─► (vocoder ─►) wave

The characters are those of a text as it is pronounced (`malsori text pronounce`): jamo, or whole syllables. Inputs and
outputs are those of Piper's voices, which sherpa-onnx runs too: `input` (1, characters), `input_lengths` (1),
`scales` (3): of the wave's noise, of lengths, of the noise of lengths; `sid` (1) where there are several speakers.
"""

import unicodedata
from functools import cache

import torch
from torch import Tensor, nn

from malsori.export.graph import Graph
from malsori.nn.lengths import expand_by_durations
from malsori.text.frontend import Frontend
from malsori.text.hangul import NUCLEI, ONSETS, SILENT
from malsori.text.symbols import PAUSE, PHONEMES, SENTENCE_ENDS, SPACE, START

#: What is left out of a text: what programs put between and around its characters.
PADDING = ("_", "^", "$")
_SYLLABLE = 3  # phonemes at most
_EXAMPLE = "안녕하세요."


class _Vits(nn.Module):
    """Both parts of a VITS, its noise drawn in the graph."""

    def __init__(self, graphs: dict[str, Graph]) -> None:
        super().__init__()
        self.plan, self.sound = graphs["plan"].module, graphs["sound"].module

    def forward(self, token_ids: Tensor, speaker: Tensor, scales: Tensor) -> Tensor:
        drawn = torch.randn_like(token_ids[:, None].expand(-1, 2, -1).float()) * scales[2]
        mean, log_std, durations = self.plan(token_ids, speaker, 1 / scales[1], drawn)
        noise = torch.randn_like(expand_by_durations(mean, durations)).transpose(1, 2) * scales[0]
        return self.sound(mean, log_std, durations, noise, speaker)


class _Acoustic(nn.Module):
    """An acoustic model and its vocoder, with what excites it; they draw no noise."""

    def __init__(self, graphs: dict[str, Graph]) -> None:
        super().__init__()
        self.acoustic, self.vocoder = graphs["acoustic"].module, graphs["vocoder"].module
        self.excitation = graphs["excitation"].module if "excitation" in graphs else None
        self.others = [value for name, value in graphs["acoustic"].inputs.items() if name == "energy_shift"]

    def forward(self, token_ids: Tensor, speaker: Tensor, scales: Tensor) -> Tensor:
        mel, _ = self.acoustic(token_ids, speaker, 1 / scales[1], *self.others)
        return self.vocoder(mel) if self.excitation is None else self.vocoder(mel, self.excitation(mel))


class _CharacterVoice(nn.Module):
    phonemes: Tensor
    bounds: Tensor
    ends: Tensor

    def __init__(self, voice: nn.Module, blanks: bool) -> None:
        super().__init__()
        self.voice, self.blanks = voice, blanks
        rows = [tokens + [0] * (_SYLLABLE - len(tokens)) for tokens in characters().values()]
        numbers = torch.arange(len(PHONEMES))
        self.register_buffer("phonemes", torch.tensor(rows))
        self.register_buffer("bounds", torch.isin(numbers, torch.tensor(_ids(START, SPACE, PAUSE, *SENTENCE_ENDS))))
        self.register_buffer("ends", torch.isin(numbers, torch.tensor(_ids(*SENTENCE_ENDS))))

    def forward(self, numbers: Tensor, lengths: Tensor, scales: Tensor, speaker: Tensor | None = None) -> Tensor:
        tokens = self._tidied(self.phonemes[numbers[0, : lengths[0]]].flatten())
        if self.blanks:
            spaced = torch.stack([torch.zeros_like(tokens), tokens], 1).flatten()
            tokens = torch.cat([spaced, torch.zeros_like(tokens[:1])])
        first = torch.zeros_like(lengths) if speaker is None else speaker
        return self.voice(tokens[None], first, scales)[:, None]

    def _tidied(self, found: Tensor) -> Tensor:
        """Return phonemes as the front-end lays them out: one bound between words, none doubled, and an end."""
        start, space, end = (torch.tensor(_ids(one)) for one in (START, SPACE, SENTENCE_ENDS[0]))
        found = torch.cat([start, found[found > 0]])
        doubled = (found[1:] == space) & self.bounds[found[:-1]]
        found = torch.cat([start, found[1:][~doubled]])
        return torch.cat([found, end[~self.ends[found[-1:]]]])


def character_graph(graphs: dict[str, Graph], blanks: bool, speakers: int) -> Graph:
    """Return a voice's graphs as one from characters to the wave.

    Args:
        graphs: `plan` and `sound` of a VITS, or `acoustic` of a voice and `vocoder`.
        blanks: as `tts.spelling.Spelling` takes them.
    """
    voice = _Vits(graphs) if "plan" in graphs else _Acoustic(graphs)
    numbers = list(characters())
    example = torch.tensor([[numbers.index(one) for one in unicodedata.normalize("NFD", _EXAMPLE)]])
    inputs = {
        "input": example,
        "input_lengths": torch.tensor([example.shape[1]]),
        "scales": torch.tensor([0.667, 1.0, 0.8]),
    }
    if speakers > 1:
        inputs["sid"] = torch.tensor([0])
    exact = {f"voice.{part}.{name}" for part in ("vocoder",) if part in graphs for name in graphs[part].precise}
    axes = {"input": {1: "characters"}, "output": {2: "samples"}}
    return Graph(_CharacterVoice(voice, blanks), inputs, ("output",), axes, tuple(sorted(exact)))


@cache
def characters() -> dict[str, list[int]]:
    """Return each character's phonemes; a character's place is its number."""
    onsets = {chr(0x1100 + place): [] if one == SILENT else _ids(one) for place, one in enumerate(ONSETS)}
    nuclei = {chr(0x1161 + place): _ids(one) for place, one in enumerate(NUCLEI)}
    codas = {chr(0x11A8 + place): _coda(place + 1) for place in range(27)}
    signs = {one: _ids(one) for one in (SPACE, PAUSE, *SENTENCE_ENDS)}
    jamo = {**onsets, **nuclei, **codas}
    syllables = {
        chr(code): [token for one in unicodedata.normalize("NFD", chr(code)) for token in jamo[one]]
        for code in range(ord("가"), ord("힣") + 1)
    }
    return {**{one: [] for one in PADDING}, **signs, **jamo, **syllables}


def _coda(place: int) -> list[int]:
    """Return what a written coda sounds like with nothing behind it."""
    said = Frontend(morphology=False).read(chr(ord("가") + place)).phonemes
    return _ids(*(one for one in said if len(one) > 1))


def _ids(*symbols: str) -> list[int]:
    return PHONEMES.encode(symbols)
