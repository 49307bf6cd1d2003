"""Whether a text and a sound belong together, and where they do not, by a recognizer's posteriors.

In every frame the text's best path is held against the best that the recognizer knows, whatever that spells: a log
posterior ratio, 0 where they are one, negative where the sound says something else, or something that the text lacks.
A phoneme of a right text costs half a nat in a studio and two in a talk (medians), of another text five to six.

Source: S. Witt, S. Young 2000, Phone-level pronunciation scoring, eq. 2-3 (goodness of pronunciation: a forced
alignment against free recognition), for all frames of CTC's path.
"""

from collections.abc import Sequence

import numpy as np

from malsori.alignment.ctc import CtcPath
from malsori.alignment.spans import Alignment, Span
from malsori.annotations import Float, Integer

#: A text whose phonemes cost more than this on average does not belong to its sound.
MIN_SCORE = -4.0
#: A stretch of so many seconds whose frames cost more than this on average, in nats, is told.
_WINDOW_SECONDS, _MAX_FRAME_LOSS = 1.5, 1.3
_SHOWN = 3  # stretches that one line tells


def posterior_ratio(
    log_probs: Float[np.ndarray, "frames vocab"],
    token_ids: Sequence[int] | Integer[np.ndarray, " tokens"],
    path: CtcPath,
) -> Float[np.ndarray, " frames"]:
    """Return in each frame the log-probability of a path's symbol less that of the most probable one; blank is 0."""
    symbols = np.where(path.frame_tokens < 0, 0, np.asarray(token_ids)[path.frame_tokens])
    ratio = log_probs[np.arange(len(log_probs)), symbols] - log_probs.max(1)
    return np.asarray(ratio, dtype=np.float32)


def find_mismatches(
    words: Sequence[Span], ratio: Float[np.ndarray, " frames"], frame_seconds: float
) -> tuple[Span, ...]:
    """Return the stretches in which words and sound do not belong together, each with the words that lie in it.

    Args:
        words: in order of time.
        ratio: `posterior_ratio` of the whole sound.
        frame_seconds: seconds from one of its frames to the next.
    """
    width = min(max(1, round(_WINDOW_SECONDS / frame_seconds)), len(ratio))
    sums = np.concatenate([[0.0], np.cumsum(np.maximum(ratio, -20.0), dtype=np.float64)])
    bad = (sums[width:] - sums[:-width]) / width < -_MAX_FRAME_LOSS  # by the window's first frame
    edges = np.flatnonzero(np.diff(np.concatenate([[0], bad.astype(int), [0]])))
    found: list[Span] = []
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        odd = first + np.flatnonzero(ratio[first : last - 1 + width] < -_MAX_FRAME_LOSS)
        start, end = float(odd[0] * frame_seconds), float((odd[-1] + 1) * frame_seconds)
        if found and start <= found[-1].end:
            start = found.pop().start
        inside = [word.text for word in words if word.start < end and word.end > start]
        found.append(Span(" ".join(inside), start, end))
    return tuple(found)


def describe_mismatch(alignment: Alignment) -> str:
    """Return in one line that a text does not belong to its sound, or where; nothing where it does."""
    if alignment.score is None:
        return ""
    if alignment.score < MIN_SCORE:
        return (
            f"the text does not seem to be what is said: score {alignment.score:.1f}, less than {MIN_SCORE:.0f}. "
            "Its times mean little; give the right text."
        )
    if not alignment.mismatches:
        return ""
    places = [f"{span.start:.1f}-{span.end:.1f} s ({_short(span.text)})" for span in alignment.mismatches[:_SHOWN]]
    more = f" and {len(alignment.mismatches) - _SHOWN} more" if len(alignment.mismatches) > _SHOWN else ""
    return f"text and sound do not seem to belong together at {', '.join(places)}{more}"


def _short(text: str, characters: int = 30) -> str:
    if not text:
        return "no word there"
    return text if len(text) <= characters else text[: characters - 1] + "…"
