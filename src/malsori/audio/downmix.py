"""One channel from several, sound that comes in blocks of any length alike."""

import numpy as np

from malsori.annotations import Float

_BLOCK_SECONDS = 0.1
_OPPOSITE = -0.5  # two channels that are so much alike, but for their sign, would silence one another
_MOST_CHANNELS = 8  # of more, no speaker's microphone is wired the wrong way


class Downmix:
    """Averages channels, those turned round that are another's opposite: their mean would be silence.

    Which are is judged by the correlation of all that has come so far, at the end of each tenth of a second: the
    result is the same however the sound comes.
    """

    def __init__(self, sample_rate: int) -> None:
        self._size = max(1, round(_BLOCK_SECONDS * sample_rate))
        self._products: np.ndarray | float = 0.0
        self._pending: np.ndarray | None = None

    def mix(self, channels: Float[np.ndarray, "samples channels"], last: bool = False) -> Float[np.ndarray, " mixed"]:
        """Return the mean of what can be judged by now; all that is left with `last`."""
        if channels.shape[1] == 1:
            return channels[:, 0]
        if not 1 < channels.shape[1] <= _MOST_CHANNELS:
            return channels.mean(axis=1, dtype=np.float32)
        if self._pending is not None:
            channels = np.concatenate([self._pending, channels])
        if not len(channels):
            return np.zeros(0, dtype=np.float32)
        whole = len(channels) // self._size * self._size
        mixed = [self._mix_blocks(channels[:whole].reshape(-1, self._size, channels.shape[1]))]
        self._pending = channels[whole:]
        if last and len(self._pending):
            mixed.append(self._mix_blocks(self._pending[None]))
            self._pending = None
        return np.concatenate(mixed)

    def _mix_blocks(self, blocks: np.ndarray) -> np.ndarray:
        """Return the mean (samples,) of blocks (blocks, samples, channels)."""
        wide = blocks.astype(np.float64)
        products = np.cumsum(np.einsum("bsi,bsj->bij", wide, wide), axis=0) + self._products
        if len(products):
            self._products = products[-1]
        energy = np.einsum("bii->bi", products)
        loudest = energy.argmax(axis=1)[:, None]
        against = np.take_along_axis(products, loudest[:, None], axis=1)[:, 0]
        bound = _OPPOSITE * np.sqrt(energy * np.take_along_axis(energy, loudest, axis=1))
        signs = np.where(against < bound, -1.0, 1.0).astype(np.float32)
        return (blocks * signs[:, None, :]).mean(axis=2, dtype=np.float32).reshape(-1)
