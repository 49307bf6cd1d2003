"""What the validation of every recognizer measures, so that no two systems count spaces differently."""

from collections.abc import Sequence

from malsori.metrics.error_rate import cer


def recognition_error_rates(references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, float]:
    """Return the character error rates of a split by name; the first decides which weights are kept as the best.

    White space counts as in `malsori score`: "cer_no_space" removes all of it, of whatever kind; for "cer" each run of
    it is one space, and none at the ends.

    >>> recognition_error_rates(["가 나"], ["가나"])
    {'cer_no_space': 0.0, 'cer': 0.3333333333333333}
    """
    return {
        "cer_no_space": cer(references, hypotheses, spaces=False).rate,
        "cer": cer(references, hypotheses).rate,
    }
