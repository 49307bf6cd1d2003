"""Acoustic models: from a sentence's phonemes to its log-mel, one adapter a kind of network."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from malsori.pretrained.folder import SavedModel
from malsori.runtime.device import Runtime
from malsori.tts.options import SayOptions
from malsori.tts.roles import AcousticModel, SynthesisInput, SynthesisOutput
from malsori.tts.sentences import SentenceSynthesizer

if TYPE_CHECKING:
    from malsori.models.fastspeech import FastSpeech
    from malsori.models.fastspeech2 import FastSpeech2, VarianceTargets
    from malsori.models.tacotron import AttentionAcousticModel


class NetworkSynthesizer(SentenceSynthesizer):
    """A network of PyTorch with its alphabet, on its device; a subclass says what its kind of network takes and gives.

    It changes nothing once it is made, and so is safe for threads.
    """

    def __init__(self, model: SavedModel, runtime: Runtime | None = None) -> None:
        super().__init__(model.facts, model.symbols)
        self.runtime = runtime or Runtime()
        self.network: Any = self.runtime.place(model.network)

    def synthesize(self, sentence: SynthesisInput, options: SayOptions) -> SynthesisOutput:
        """Return one sentence, its mel or its wave. Raises: as `SentenceSynthesizer.synthesize`."""
        with self.runtime.inference():
            return super().synthesize(sentence, options)

    def _batch(self, values: list[int]) -> Int[Tensor, "1 values"]:
        """Return values as a batch of one, on the network's device."""
        return torch.tensor([values], device=self.runtime.device)

    def _phoneme_ids(self, sentence: SynthesisInput) -> Int[Tensor, "1 tokens"]:
        """Return the sentence's ids. Raises: ModelError if the voice was taught other symbols than phonemes."""
        return self._batch(self.phoneme_ids(sentence))


class FastSpeech2Adapter(NetworkSynthesizer, AcousticModel):
    """FastSpeech 2: energy is predicted, and so can be asked for.

    So is pitch, but what is asked for far from what was learnt comes out as something else: `audio.psola` shifts it.
    """

    output: Literal["mel"] = "mel"
    supports_prosody_control = True

    def _infer(self, sentence: SynthesisInput, speaker: int, options: SayOptions) -> SynthesisOutput:
        network: FastSpeech2 = self.network
        token_ids = self._phoneme_ids(sentence)
        output = network.infer(
            token_ids,
            self._batch([token_ids.shape[1]])[0],
            self._batch([speaker])[0],
            speed=options.speed,
            energy_shift=options.energy,
        )
        return SynthesisOutput(as_array(output.durations[0]), mel=as_array(output.mel[0]))

    def synthesize_given(
        self, token_ids: Int[Tensor, "1 tokens"], speaker_ids: Int[Tensor, "1"], targets: "VarianceTargets"
    ) -> Float[np.ndarray, "frames mel_channels"]:
        """Return one sentence's log-mel with what is given of its durations, pitch and energy, the rest predicted."""
        lengths = self._batch([token_ids.shape[1]])[0]
        with self.runtime.inference():
            output = self.network.speak(token_ids, lengths, speaker_ids, targets)
        return as_array(output.mel[0])


class FastSpeechAdapter(NetworkSynthesizer, AcousticModel):
    """FastSpeech: the speed alone can be asked for."""

    output: Literal["mel"] = "mel"

    def _infer(self, sentence: SynthesisInput, speaker: int, options: SayOptions) -> SynthesisOutput:
        network: FastSpeech = self.network
        token_ids = self._phoneme_ids(sentence)
        lengths, speakers = self._batch([token_ids.shape[1]])[0], self._batch([speaker])[0]
        output = network.infer(token_ids, lengths, speakers, speed=options.speed)
        return SynthesisOutput(as_array(output.durations[0]), mel=as_array(output.mel[0]))


class TacotronAdapter(NetworkSynthesizer, AcousticModel):
    """Both Tacotrons: at the pace that was learnt; another speed stretches the mel."""

    output: Literal["mel"] = "mel"

    def _infer(self, sentence: SynthesisInput, speaker: int, options: SayOptions) -> SynthesisOutput:
        network: AttentionAcousticModel = self.network
        token_ids = self._phoneme_ids(sentence)
        lengths = self._batch([token_ids.shape[1]])[0]
        output = network.infer(token_ids, lengths, self._batch([speaker])[0])
        durations, mel = network.durations(output, lengths)[0], output.mel
        if options.speed != 1.0:
            ends = (durations.cumsum(0) / options.speed).round().long().clamp(min=1)
            durations = ends.diff(prepend=ends.new_zeros(1))
            stretched = torch.nn.functional.interpolate(mel.transpose(1, 2), size=int(ends[-1]), mode="linear")
            mel = stretched.transpose(1, 2)
        return SynthesisOutput(as_array(durations), mel=as_array(mel[0]))


def as_array(tensor: Tensor) -> np.ndarray:
    """Return a tensor of any device as an array; half precision becomes float32."""
    return (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
