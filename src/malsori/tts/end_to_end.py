"""End-to-end voices: from a sentence's phonemes or letters to its wave."""

from typing import TYPE_CHECKING, Literal

import torch

from malsori.pretrained.folder import SavedModel
from malsori.runtime.device import Runtime
from malsori.tts.acoustic import NetworkSynthesizer, as_array
from malsori.tts.options import SayOptions
from malsori.tts.roles import EndToEndVoice, SynthesisInput, SynthesisOutput
from malsori.tts.spelling import Spelling

if TYPE_CHECKING:
    from malsori.models.vits import Vits


class VitsAdapter(NetworkSynthesizer, EndToEndVoice):
    """VITS, of ours or public: the same noise each time, so that one text has one wave."""

    output: Literal["wave"] = "wave"

    def __init__(self, model: SavedModel, runtime: Runtime | None = None) -> None:
        super().__init__(model, runtime)
        self.spelling = Spelling(self.facts, self.symbols, self.network.config.blanks)

    def _infer(self, sentence: SynthesisInput, speaker: int, options: SayOptions) -> SynthesisOutput:
        network: Vits = self.network
        output = network.infer(
            self._batch(self.spelling.token_ids(sentence)),
            speaker_ids=self._batch([speaker])[0],
            speed=options.speed,
            generator=torch.Generator().manual_seed(0),
        )
        durations = self.spelling.phoneme_durations(sentence, as_array(output.durations[0]))
        return SynthesisOutput(durations, wave=as_array(output.wave[0]))
