"""What is missing in a sound file that was cut or damaged, in words: the one place that words it."""

from malsori.audio.decoders import Outcome
from malsori.audio.stretches import Part


def what_is_missing(part: Part, outcome: Outcome) -> list[str]:
    """Return what is missing in a recording, in words: nothing, or one entry.

    Args:
        part: what the file's own headers and frames say.
        outcome: what came of decoding it.
    """
    faults, promised = [*part.faults, *outcome.faults], outcome.promised
    if part.exact and part.share < 1 and outcome.found:
        promised = max(promised or 0.0, outcome.found / part.share)
    reasons = f" ({', '.join(faults)})" if faults else ""
    if outcome.found and promised and promised - outcome.found > (0 if part.share < 1 else outcome.slack):
        word = "damaged" if faults and part.share == 1 else "cut short"
        return [f"{word}: {outcome.found:.3f} of {promised:.3f} s are there{reasons}"]
    if part.share < 1:
        return [f"cut short: {part.share:.1%} of it is there{reasons}"]
    if faults and outcome.found:
        return [f"damaged or cut short: {', '.join(faults)}; {outcome.found:.3f} s can be read"]
    return [", ".join(faults)] if faults else []
