"""Short sounds are encoded as in their whole window, without the silence that fills it."""

import numpy as np
import pytest
import torch

from malsori.asr.short_window import SilentWindow
from malsori.asr.silent_steps import MARGIN_SECONDS, SILENCE_LEVEL, SilentSteps
from malsori.models.whisper import Whisper, WhisperConfig
from malsori.pretrained.hub import load_saved

SIZES = WhisperConfig(
    vocab=60, mel_channels=8, hidden_size=16, num_encoder_layers=1, num_encoder_heads=2, encoder_ffn_size=24,
    encoder_positions=120, num_decoder_layers=2, num_decoder_heads=2, decoder_ffn_size=24, decoder_positions=20,
)  # fmt: skip
PROMPT = torch.tensor([[1, 2, 3]])


def network(**other: int) -> Whisper:
    torch.manual_seed(0)
    return Whisper(SIZES.model_copy(update=other)).eval()


def speech(frames: int, seed: int = 0) -> torch.Tensor:
    """A mel between silence and 80 dB above it, silent at its end, whose loudest bin stands at 2 - 0.7."""
    mel = SILENCE_LEVEL + 2 * torch.rand(1, frames, SIZES.mel_channels, generator=torch.Generator().manual_seed(seed))
    mel[:, -20:] = SILENCE_LEVEL
    return mel


def filled(mel: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(mel, (0, 0, 0, 240 - mel.shape[1]), value=SILENCE_LEVEL)


@pytest.mark.parametrize("frames", [80, 81, 238])
def test_silence_is_encoded_as_in_the_whole_window(frames: int) -> None:
    whisper = network(num_encoder_layers=3)
    silence = torch.full((1, frames, SIZES.mel_channels), SILENCE_LEVEL)
    whole, _ = whisper.start(filled(silence)).step(PROMPT)
    short, _ = SilentWindow.of(whisper).start(silence).step(PROMPT)
    torch.testing.assert_close(short, whole, rtol=0, atol=1e-5)


def test_one_block_sees_of_the_silence_behind_a_sound_all_that_it_sees_in_the_whole_window() -> None:
    whisper, mel = network(), speech(80)
    encoded, _ = whisper.encoder(filled(mel), None)
    keys = whisper.decoder.layers[1].cross.project_kv(encoded)[0]
    cached = SilentWindow.of(whisper).start(mel).caches[1].cross_keys
    assert cached.shape == keys.shape
    torch.testing.assert_close(cached[:, :, :40], keys[:, :, :40], rtol=0, atol=1e-5)
    assert not torch.allclose(cached[:, :, 40:], keys[:, :, 40:])  # there the whole window remembers the sound


def test_silence_that_repeats_itself_is_summed_up_without_loss() -> None:
    random = torch.Generator().manual_seed(0)
    kinds = torch.randn(2, 1, 2, 40, 4, generator=random)  # of 40 kinds, each for 15 steps
    keys, values = kinds[:, :, :, torch.arange(600) // 15]
    sound, queries = torch.randn(2, 3, 2, 71, 4, generator=random), torch.randn(3, 2, 5, 4, generator=random)
    rest = SilentSteps.of(keys[0].numpy(), values[0].numpy()).rest(71)
    more = [torch.from_numpy(part) for part in rest]
    seen = [torch.cat([part, one.expand(3, -1, -1, -1)], 2) for part, one in zip(sound, more[:2], strict=True)]
    seen.append(torch.cat([torch.zeros(2, 71), more[2]], 1)[None, :, None])
    assert seen[0].shape[2] < 71 + 50 + 64 + 1
    found = torch.nn.functional.scaled_dot_product_attention(queries, seen[0], seen[1], attn_mask=seen[2])
    whole = [
        torch.cat([part, rest[:, :, 71:].expand(3, -1, -1, -1)], 2)
        for part, rest in zip(sound, (keys, values), strict=True)
    ]
    wanted = torch.nn.functional.scaled_dot_product_attention(queries, *whole)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_another_loudness_changes_nothing() -> None:
    window, mel = SilentWindow.of(network()), speech(60)
    first, _ = window.start(mel).step(PROMPT)
    quieter, _ = window.start(mel - 0.5).step(PROMPT)
    torch.testing.assert_close(quieter, first, rtol=0, atol=1e-5)


def test_sounds_of_a_batch_are_encoded_as_alone() -> None:
    window = SilentWindow.of(network(num_encoder_layers=2))
    short, long = speech(60, 1), speech(90, 2)
    both = torch.cat([torch.nn.functional.pad(short, (0, 0, 0, 30), value=SILENCE_LEVEL), long])
    together, _ = window.start(both).step(PROMPT.expand(2, -1))
    alone, _ = window.start(both[:1]).step(PROMPT)
    torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(together[1:], window.start(long).step(PROMPT)[0], rtol=0, atol=1e-5)


def test_a_recognizer_encodes_of_a_short_sound_its_own_length_and_of_a_long_one_the_window() -> None:
    from malsori.asr.whisper import WhisperSegmentDecoder

    saved = load_saved("whisper-base-ko")
    decoder, lengths = WhisperSegmentDecoder(saved), []
    saved.network.encoder.first.register_forward_hook(lambda _, given, __: lengths.append(given[0].shape[2]))
    rate = saved.facts.audio.sample_rate
    decoder.engine.start(np.zeros((1, 2 * rate), np.float32))
    decoder.engine.start(np.zeros((1, 29 * rate + rate // 2), np.float32))
    assert lengths == [3000, round((2 + MARGIN_SECONDS) * 100) + 2, 3000]  # the first is the window of silence
