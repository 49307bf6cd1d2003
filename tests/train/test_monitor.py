"""The training monitor: each kind of warning planted, given once, and not where nothing is wrong."""

import pytest

from malsori.train.monitor import WARNING_KINDS, TrainingMonitor


@pytest.fixture
def monitor():
    records = []
    made = TrainingMonitor(set(), records.append)
    made.records = records
    return made


def warnings_of(monitor, steps, values):
    for step in range(1, steps + 1):
        monitor.step(step, values(step))
    return [(entry["warning"], entry["step"]) for entry in monitor.records]


PLANTED = {
    "the discriminator wins": ("discriminator/discriminator_accuracy", 0.999, 0.8, 499),
    "only blanks": ("recognizer/blank_share", 1.0, 0.9, 1699),
    "attention is not diagonal": ("acoustic/attention_diagonality", 0.36, 0.9, 3199),
    "the codebooks have collapsed": ("encoder/codes_used", 0.02, 0.4, 1199),
}


@pytest.mark.parametrize("warning", PLANTED)
def test_a_bad_diagnostic_is_warned_of_once_when_it_lasts(monitor, warning):
    name, bad, _, first = PLANTED[warning]
    assert warnings_of(monitor, first + 800, lambda step: {name: bad}) == [(warning, first)]
    assert any(part in monitor.records[0]["message"] for part in ("learning_rate", "weight"))


@pytest.mark.parametrize("warning", PLANTED)
def test_a_good_diagnostic_is_not_warned_of(monitor, warning):
    name, bad, good, first = PLANTED[warning]
    assert warnings_of(monitor, first + 800, lambda step: {name: good if step % 10 else bad}) == []


def test_every_kind_of_warning_is_planted():
    assert {kind.name for kind in WARNING_KINDS} == set(PLANTED)


def test_exploding_gradients_are_warned_of_and_one_spike_is_not(monitor):
    def norms(step):
        return {"generator/gradient_norm": 500.0 if step == 150 or step >= 400 else 2.0 + step % 3}

    ((warning, step),) = warnings_of(monitor, 450, norms)
    assert warning == "gradients of 'generator' explode" and 400 < step <= 410
    assert "it used to be 3" in monitor.records[0]["message"]
    assert "optimizers.generator.learning_rate" in monitor.records[0]["message"]


def test_norms_of_single_losses_are_not_the_turns(monitor):
    assert warnings_of(monitor, 300, lambda step: {"generator/mel/gradient_norm": 1e9 if step > 200 else 1.0}) == []


def test_validation_that_stands_still_is_warned_of(monitor):
    measured = [5.0, 4.0, 3.0, 3.1, 3.0, 3.2, 3.05, 3.0, 3.3]
    for count in range(1, len(measured) + 1):
        monitor.validated(100 * count, measured[:count])
    assert [(entry["warning"], entry["step"]) for entry in monitor.records] == [("validation stands still", 900)]


def test_a_run_is_not_warned_again_of_what_it_was_warned_of():
    records = []
    monitor = TrainingMonitor({"only blanks"}, records.append)
    for step in range(3000):
        monitor.step(step, {"recognizer/blank_share": 1.0})
    assert records == []
