"""One sentence by one of a voice's speakers, whatever computes it: what is asked for is served or refused first."""

from abc import ABC, abstractmethod

from malsori.config import nearest
from malsori.errors import ModelError, OptionError
from malsori.pretrained.folder import ModelFacts
from malsori.text.symbols import PHONEMES, SymbolTable
from malsori.tts.options import SayOptions
from malsori.tts.roles import SynthesisInput, SynthesisOutput


class SentenceSynthesizer(ABC):
    """What a voice's folder says, and the options it serves by it; a subclass computes."""

    supports_prosody_control: bool = False

    def __init__(self, facts: ModelFacts, symbols: dict[str, SymbolTable]) -> None:
        self.facts, self.symbols = facts, symbols

    def refuse_unsupported(self, options: SayOptions) -> None:
        """Raise OptionError naming the first option that it cannot serve, and its system."""
        if options.prosody and not self.supports_prosody_control:
            name, value = next(iter(options.prosody.items()))
            raise OptionError(f"{name} {value:g}: a {self.facts.system} has no such control; a fastspeech2 has")
        if options.speaker is not None and options.speaker not in self.facts.speakers:
            hint = nearest(options.speaker, list(self.facts.speakers)) if self.facts.speakers else " It names none."
            raise OptionError(f"speaker: the voice ({self.facts.system}) has no speaker '{options.speaker}'.{hint}")

    def synthesize(self, sentence: SynthesisInput, options: SayOptions) -> SynthesisOutput:
        """Return one sentence, its mel or its wave.

        Raises: OptionError as refuse_unsupported; ModelError if the network takes symbols that malsori has not.
        """
        self.refuse_unsupported(options)
        speaker = 0 if options.speaker is None else self.facts.speakers.index(options.speaker)
        return self._infer(sentence, speaker, options)

    @abstractmethod
    def _infer(self, sentence: SynthesisInput, speaker: int, options: SayOptions) -> SynthesisOutput:
        """Return what the network makes of one sentence by one of its speakers."""

    def phoneme_ids(self, sentence: SynthesisInput) -> list[int]:
        """Return the sentence's ids. Raises: ModelError if the voice was taught other symbols than phonemes."""
        if "phonemes" not in self.symbols:
            raise ModelError(
                f"this {self.facts.system} reads {self.facts.model.get('vocab')} symbols of its makers, not malsori's "
                "phonemes: it has to learn them from a corpus first"
            )
        return PHONEMES.encode(sentence.phonemes)
