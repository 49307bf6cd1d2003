"""What a voice or a vocoder makes of held-out recordings while it learns: to be heard and seen, step by step.

    samples/ID/recording.wav, .png     once
    samples/ID/00003000.wav, .png      what the averaged weights of step 3000 make: the sound, and its log-mel

A voice says the recording's phonemes, all else predicted; a vocoder copies the mel that it learns from, the recording's
or a voice's. TensorBoard has both too.
"""

import copy
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import nn

from malsori.audio.io import load_audio, save_audio
from malsori.audio.mel import log_mel
from malsori.config import AudioConfig
from malsori.corpus.batches import SegmentCollator
from malsori.files import atomic_file
from malsori.pretrained.folder import SavedModel
from malsori.runtime.device import runtime_of
from malsori.systems import systems_of
from malsori.text.symbols import PHONEMES
from malsori.train.setup import TrainingSetup
from malsori.tts.options import SayOptions
from malsori.tts.roles import AcousticModel, EndToEndVoice, SynthesisInput, Vocoder
from malsori.tts.vocoders import GRIFFIN_LIM, NetworkVocoder, load_vocoder
from malsori.tts.voice import open_synthesizer

_PIXELS = 3  # a side of what stands for one frame and one mel channel


@dataclass(frozen=True)
class Sample:
    """One held-out utterance as a wave (samples,)."""

    id: str
    wave: Float[np.ndarray, " samples"]


def validation_samples(setup: TrainingSetup, network: nn.Module, count: int) -> list[Sample]:
    """Return what the network makes of the first held-out utterances; nothing of a system that makes no sound.

    Raises: ModelError if it is no model that can speak.
    """
    cuts = list(setup.cuts["dev"].values())[:count]
    model = SavedModel(setup.facts, setup.symbols, copy.deepcopy(network).eval())
    if setup.facts.system in systems_of("vocoder"):
        made = _copies(NetworkVocoder(model, runtime_of(network)), setup, cuts)
    elif setup.facts.system in systems_of("acoustic model", "end-to-end voice"):
        made = _spoken(open_synthesizer(model, runtime_of(network)), setup, cuts)
    else:
        return []
    return [Sample(cut.id, wave) for cut, wave in zip(cuts, made, strict=True) if len(wave)]


def recordings(setup: TrainingSetup, count: int) -> list[Sample]:
    """Return the recordings of the same utterances."""
    rate = setup.corpus.audio.sample_rate
    cuts = list(setup.cuts["dev"].values())[:count]
    return [Sample(cut.id, load_audio(cut.recording.sources[0].source, rate)) for cut in cuts]


def write_samples(folder: Path, name: str, samples: list[Sample], audio: AudioConfig) -> None:
    """Write FOLDER/ID/NAME.wav and .png of each. Raises: FileError if the disk does not take them."""
    for sample in samples:
        save_audio(folder / sample.id / f"{name}.wav", sample.wave, audio.sample_rate)
        with atomic_file(folder / sample.id / f"{name}.png") as temporary:
            temporary.write_bytes(_png(mel_picture(sample.wave, audio)))


def mel_picture(wave: Float[np.ndarray, " samples"], audio: AudioConfig) -> UInt8[np.ndarray, "height width"]:
    """Return a wave's log-mel as gray: time to the right, low frequencies at the bottom, loud is white."""
    mel = log_mel(torch.from_numpy(np.asarray(wave, dtype=np.float32))[None], audio)[0].numpy()
    low, high = audio.silence, mel.max()
    gray = (255 * (mel - low) / max(high - low, 1e-6)).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(gray.T[::-1]).repeat(_PIXELS, 0).repeat(_PIXELS, 1)


def _copies(vocoder: Vocoder, setup: TrainingSetup, cuts: list[Any]) -> list[np.ndarray]:
    """Return the waves of the mels that the vocoder learns from: the recordings', or those that a voice predicts."""
    collator = setup.collators["dev"]
    predicted = collator.predicted if isinstance(collator, SegmentCollator) else {}
    return [vocoder.vocode(predicted.get(cut.id, setup.corpus.ground_truth(cut)["mel"])) for cut in cuts]


def _spoken(voice: AcousticModel | EndToEndVoice, setup: TrainingSetup, cuts: list[Any]) -> list[np.ndarray]:
    """Return the waves of the cuts' phonemes, by the built-in vocoder where it knows the voice's mels."""
    waves, vocoder = [], _vocoder(setup) if voice.output == "mel" else None
    for cut in cuts:
        phonemes = PHONEMES.decode(setup.corpus.ground_truth(cut)["token_ids"].tolist())
        options = SayOptions(speaker=cut.supervisions[0].speaker)
        output = voice.synthesize(SynthesisInput(tuple(phonemes), ""), options)
        wave = vocoder.vocode(output.mel) if vocoder and output.mel is not None and len(output.mel) else output.wave
        waves.append(np.zeros(0) if wave is None else wave)
    return waves


def _vocoder(setup: TrainingSetup) -> Vocoder:
    built_in = load_vocoder(None, setup.facts.audio, "cpu", runtime="torch")
    return built_in if built_in.audio == setup.facts.audio else load_vocoder(GRIFFIN_LIM, setup.facts.audio, "cpu")


def _png(gray: UInt8[np.ndarray, "height width"]) -> bytes:
    """Return a gray picture as a PNG (RFC 2083): a header, the rows, an end; training needs no drawing library."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = gray.shape
    rows = np.pad(gray, ((0, 0), (1, 0))).tobytes()  # each row after a filter byte of 0: none
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
