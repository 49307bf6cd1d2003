"""The lessons, in the order of the syllabus."""

from malsori.config import nearest
from malsori.errors import OptionError
from malsori.learn import adversary, boards, combining, measuring, mel_board, optimizing, structures, truth
from malsori.learn.lesson import Lesson


def lessons() -> tuple[Lesson, ...]:
    """Return every lesson; nothing is computed until one is read.

    >>> len(lessons()), lessons()[0].name
    (14, 'phonemes')
    """
    return (*_structures(), *_losses(), *_recognition())


def find_lesson(name: str) -> Lesson:
    """Return a lesson by name. Raises: OptionError naming the nearest one."""
    found = {lesson.name: lesson for lesson in lessons()}
    if name not in found:
        raise OptionError(f"no lesson '{name}'.{nearest(name, list(found))} 'malsori learn' lists them")
    return found[name]


def _structures() -> tuple[Lesson, ...]:
    at = structures
    return (
        Lesson("phonemes", at.phonemes, at.phoneme_answer, draw=at.draw_phonemes),
        Lesson("cnn", at.convolution, at.convolution_answer, draw=at.draw_convolution),
        Lesson("rnn", at.recurrence, at.recurrence_answer, draw=at.draw_recurrence),
        Lesson("attention", at.attention, at.attention_answer, 0.001, at.draw_attention),
        Lesson("adam", optimizing.optimizers, optimizing.optimizer_answer, 0.001, optimizing.draw_optimizers),
    )


def _losses() -> tuple[Lesson, ...]:
    mel, rows, game = mel_board, truth, adversary
    return (
        Lesson("norms", optimizing.distances, optimizing.distance_answer, 0.001, optimizing.draw_distances),
        Lesson(
            "mel-loss",
            mel.mel_loss,
            mel.mel_loss_answer,
            0.011,
            mel.draw_mel_loss,
            mel.play_mel_loss,
            "mel",
            mel.mel_toy,
        ),
        Lesson(
            "ground-truth",
            rows.ground_truth,
            rows.truth_answer,
            0.5,
            rows.draw_truth,
            rows.play_truth,
            "shift",
            rows.truth_toy,
        ),
        Lesson("duration", rows.durations, rows.duration_answer, 0.011, rows.draw_durations),
        Lesson("gan", game.gan, game.gan_answer, 0.001, game.draw_gan, None, "gan", game.gan_toy),
    )


def _recognition() -> tuple[Lesson, ...]:
    losses, scores = combining, measuring
    return (
        Lesson("ctc", boards.ctc, boards.ctc_answer, 0.0, boards.draw_ctc, boards.play_ctc, "ctc", boards.ctc_toy),
        Lesson("cross-entropy", scores.cross_entropy, scores.cross_entropy_answer, 0.001, scores.draw_cross_entropy),
        Lesson(
            "combining",
            losses.combining,
            losses.combining_answer,
            0.11,
            losses.draw_combining,
            None,
            "losses",
            losses.combining_toy,
        ),
        Lesson("metrics", scores.metrics, scores.metrics_answer, 0.01, scores.draw_metrics),
    )
