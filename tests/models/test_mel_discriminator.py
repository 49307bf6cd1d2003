"""A discriminator of mels: what it can find out."""

import torch

from malsori.losses.adversarial import discriminator_accuracy, discriminator_loss
from malsori.models.mel_discriminator import MelDiscriminator, MelDiscriminatorConfig


def test_it_finds_smoothed_mels_and_knows_the_phonemes() -> None:
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(0)
    sounds = torch.randn(6, 16, generator=random)  # each phoneme's mel; a frame adds a fine line
    judge = MelDiscriminator(MelDiscriminatorConfig(channels=4), vocab=6, speakers=1, mel_channels=16)
    optimizer, accuracies = torch.optim.AdamW(judge.parameters(), 5e-3), []
    speaker = torch.zeros(4, dtype=torch.long)
    for _ in range(60):
        phonemes = torch.randint(0, 6, (4, 6), generator=random).repeat_interleave(4, dim=1)
        smooth = sounds[phonemes] - 5
        mel = smooth + 0.5 * torch.randn(smooth.shape, generator=random)
        real, fake = judge(mel, phonemes, speaker).scores, judge(smooth, phonemes, speaker).scores
        optimizer.zero_grad()
        discriminator_loss(real, fake).backward()
        optimizer.step()
        accuracies.append(discriminator_accuracy(real, fake).item())
    assert sum(accuracies[-10:]) / 10 > 0.9
    assert not torch.allclose(
        judge(mel, phonemes, speaker).scores[0], judge(mel, (phonemes + 1) % 6, speaker).scores[0]
    )
