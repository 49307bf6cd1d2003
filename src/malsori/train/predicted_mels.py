"""Mels that a voice predicts of a corpus's recordings, with their own durations, pitch and energy.

Frame for frame they lie beside the recording's wave ("ground-truth-aligned"), so that a vocoder can learn to make the
wave of what the voice gives it instead of what was recorded.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from malsori.corpus.batches import Example, SpeakCollator, on_device
from malsori.corpus.folder import Corpus
from malsori.errors import ConfigError, CorpusError, OptionError
from malsori.models.fastspeech2 import VarianceTargets
from malsori.pretrained.hub import load_saved
from malsori.train.setup import require_same_audio
from malsori.tts.acoustic import FastSpeech2Adapter
from malsori.tts.roles import AcousticModel, EndToEndVoice
from malsori.tts.voice import open_synthesizer

log = logging.getLogger("malsori")

#: What a voice can take from the recording in place of its own prediction.
GIVEN = ("durations", "pitch", "energy")


def mel_predictor(
    acoustic: AcousticModel | EndToEndVoice, corpus: Corpus, given: Sequence[str] = GIVEN
) -> Callable[[Any], Float[np.ndarray, "frames mel_channels"]]:
    """Return what predicts the log-mel of a cut's phonemes with parts of its recording.

    Args:
        given: of `GIVEN`; pitch, a value a frame, only with durations.
    Raises: OptionError for a model that takes nothing of a recording, or another part; CorpusError, when called, for a
        cut without durations.
    """
    if wrong := [name for name in given if name not in GIVEN]:
        raise OptionError(f"given: '{wrong[0]}' is none of {', '.join(GIVEN)}")
    if "pitch" in given and "durations" not in given:
        raise OptionError("given: pitch comes a frame; give durations too")
    if not isinstance(acoustic, FastSpeech2Adapter):
        raise OptionError(f"given: a {acoustic.facts.system} takes nothing of a recording; a fastspeech2 does")
    collate = SpeakCollator(acoustic.facts.speakers, acoustic.facts.statistics)

    def predict(cut: Any) -> Float[np.ndarray, "frames mel_channels"]:
        truth = corpus.ground_truth(cut)
        if "durations" not in truth:
            raise CorpusError(f"{corpus.path}: {cut.id} has no durations; prepare the corpus with them")
        example = Example(cut.id, cut.supervisions[0].speaker, np.zeros(0, dtype=np.float32), truth)
        batch = on_device(collate([example], np.random.default_rng(0)), acoustic.runtime.device)
        targets = VarianceTargets(**{name: getattr(batch, name) for name in given})
        return acoustic.synthesize_given(batch.token_ids, batch.speaker_ids, targets)

    return predict


def predicted_mels(name: str, cuts: dict[str, dict[str, Any]], corpus: Corpus) -> dict[str, np.ndarray]:
    """Return the mels that a voice predicts of the utterances of all splits, by id.

    Args:
        name: the voice's, as for `load_model`.
        cuts: split → id → cut, each with durations.
    Raises: ConfigError if it is no FastSpeech 2, makes another mel than the corpus has, or lacks one of the speakers.
    """
    voice = load_saved(name)
    if voice.facts.system != "fastspeech2":
        raise ConfigError(
            f"mels_from: {name} is a {voice.facts.system}; a fastspeech2 predicts mels with a recording's durations"
        )
    require_same_audio(voice.facts.audio, corpus, name)
    wanted = {cut_id: cut for found in cuts.values() for cut_id, cut in found.items()}
    speakers = voice.facts.speakers
    missing = sorted({cut.supervisions[0].speaker for cut in wanted.values()} - set(speakers))
    if missing:
        known = ", ".join(f'"{speaker}"' for speaker in speakers)
        raise ConfigError(
            f"mels_from: {name} has no speaker '{missing[0]}'; train on its own alone: --set 'data.speakers=[{known}]'"
        )
    log.info("%s predicts the mels of %d utterances", name, len(wanted))
    predict = mel_predictor(open_synthesizer(voice), corpus)
    return {cut_id: predict(cut) for cut_id, cut in wanted.items()}
