"""What the blocks of a Whisper attend to in a window of silence: kept once, and most of it summed up.

They are much alike: of each head's 1500 steps some 64 means are kept, each with the number of steps that it stands for.
"""

from dataclasses import dataclass, field

import numpy as np

from malsori.annotations import Float, Int

#: What silence is in a log-mel whose loudest bin is 80 dB above it, as speech of a usual loudness has it (the median of
#: recordings: 1.3); every sound is brought to it, which is to change its loudness.
SILENCE_LEVEL = -0.7
MARGIN_SECONDS = 1.0  # of silence behind a sound that are encoded with it: what was said still echoes in their states
_MEANS = 64  # of a head's steps of silence
_ROUNDS = 8  # of k-means
#: Steps between the places from which on silence is summed up: 1 s.
GRID = 50


@dataclass(frozen=True)
class SilentSteps:
    """What one block attends to in a window of silence, whole and summed up.

    Attributes:
        keys, values: at every step, (heads, time, size) each.
        member: to which mean each step belongs, (heads, time).
    """

    keys: Float[np.ndarray, "heads time size"]
    values: Float[np.ndarray, "heads time size"]
    member: Int[np.ndarray, "heads time"]
    _summed: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, keys: Float[np.ndarray, "heads time size"], values: Float[np.ndarray, "heads time size"]
    ) -> "SilentSteps":
        """Return them for a block's keys and values."""
        return cls(keys, values, _k_means(np.concatenate([_scaled(keys), _scaled(values)], -1)))

    def rest(self, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return keys and values of the silence from a step on, and what is added to their scores (heads, time).

        Silence that would take fewer than twice as many steps as there are means is not summed up.
        """
        total = self.keys.shape[1]
        place = min(total, -(-first // GRID) * GRID) if total - first > 2 * _MEANS else total
        if place not in self._summed:
            self._summed[place] = self._sum_up(place)
        keys, values, bias = self._summed[place]
        plain = np.zeros((len(bias), place - first), dtype=np.float32)
        return (
            np.concatenate([self.keys[:, first:place], keys], 1),
            np.concatenate([self.values[:, first:place], values], 1),
            np.concatenate([plain, bias], 1),
        )

    def table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the means of all steps, and how many steps each stands for from every GRID-th step on.

        Where steps must not be kept, this stands in for `rest` from those places on: keys and values (heads, means,
        size), counts (places, heads, means).
        """
        keys, values, _ = self._sum_up(0)
        places = range(0, self.keys.shape[1] + GRID, GRID)
        counts = [[np.bincount(head[place:], minlength=_MEANS) for head in self.member] for place in places]
        return keys, values, np.array(counts)

    def _sum_up(self, place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the means of keys and of values from a step on, and the logarithm of how many steps each is of."""
        heads, total, size = self.keys.shape
        if place >= total:
            none = np.zeros((heads, 0, size), dtype=np.float32)
            return none, none, none[:, :, 0]
        sums, count = _sums(np.concatenate([self.keys, self.values], -1)[:, place:], self.member[:, place:])
        keys, values = np.split(sums / np.maximum(count, 1)[..., None], 2, -1)
        with np.errstate(divide="ignore"):  # a mean of no step is seen by nobody
            bias = np.log(count)
        return keys, values, bias


def _scaled(part: Float[np.ndarray, "heads time size"]) -> Float[np.ndarray, "heads time size"]:
    """Return vectors whose mean square deviation from their mean is 1 for each head."""
    return part / np.maximum(part.std((1, 2), keepdims=True, ddof=1), 1e-6)


def _k_means(points: Float[np.ndarray, "heads time size"]) -> Int[np.ndarray, "heads time"]:
    """Return to which of _MEANS means each point belongs: Lloyd's rounds from points in even steps."""
    means = points[:, np.linspace(0, points.shape[1] - 1, _MEANS).astype(int)]
    for _ in range(_ROUNDS):
        distances = points @ np.ascontiguousarray(-2 * means.transpose(0, 2, 1))  # transposed, it would take four times
        member = (distances + np.square(means).sum(-1)[:, None]).argmin(-1)
        sums, count = _sums(points, member)
        means = np.where(
            count[..., None] > 0, sums / np.maximum(count, 1)[..., None], means
        )  # where none is, as it was
    return member


def _sums(
    points: Float[np.ndarray, "heads time size"], member: Int[np.ndarray, "heads time"]
) -> tuple[Float[np.ndarray, "heads means size"], Float[np.ndarray, "heads means"]]:
    """Return the sums of the points that belong together, and how many these are.

    A product with zeros and ones would say the same: on a busy machine BLAS's threads wait for one another a hundred
    times as long as the sums take.
    """
    heads, _, size = points.shape
    group = (member + _MEANS * np.arange(heads)[:, None]).ravel()
    order = group.argsort(kind="stable")
    present, first, counted = np.unique(group[order], return_index=True, return_counts=True)
    sums, count = np.zeros((heads * _MEANS, size), np.float32), np.zeros(heads * _MEANS, np.float32)
    sums[present], count[present] = np.add.reduceat(points.reshape(-1, size)[order], first, axis=0), counted
    return sums.reshape(heads, _MEANS, size), count.reshape(heads, _MEANS)
