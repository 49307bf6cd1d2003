"""Models that have learnt nothing and are done at once: a server of them has all of the real one's ways."""

import shutil
from pathlib import Path

import torch

from malsori.config import RECOGNITION_AUDIO
from malsori.models.conformer import Conformer, ConformerConfig
from malsori.pretrained.folder import ModelFacts, SavedModel, save_model
from malsori.text.symbols import JAMO, PHONEMES

_OLD_RUNS = Path(__file__).parents[1] / "train" / "old_runs"
_SIZES = ConformerConfig(
    hidden_size=12, num_layers=2, num_heads=2, kernel_size=5, subsampling_channels=4, phoneme_ctc_layer=1
)


def tiny_models(folder: Path) -> dict[str, str]:
    """Save a voice, its vocoder and a recognizer; return the settings of a server that has them as its own."""
    for name in ("fastspeech2", "vocos"):
        shutil.copytree(_OLD_RUNS / name / "model", folder / name)
    torch.manual_seed(0)
    audio = RECOGNITION_AUDIO
    facts = ModelFacts(
        system="conformer", model=_SIZES.model_dump(), audio=audio, audio_fingerprint=audio.fingerprint()
    )
    network = Conformer(_SIZES).eval()
    save_model(SavedModel(facts, {"jamo": JAMO, "phonemes": PHONEMES}, network), folder / "conformer")
    return {
        "models": f"tiny-voice={folder / 'fastspeech2'},tiny-ear={folder / 'conformer'}",
        "voice": "tiny-voice",
        "vocoder": str(folder / "vocos"),
        "recognizer": "tiny-ear",
        "aligner": "tiny-ear",
        "preload": "tiny-voice,tiny-ear",
    }
