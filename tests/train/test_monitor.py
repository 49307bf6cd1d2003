"""The run doctor: each illness planted, told once, and not seen in the healthy."""

import pytest

from malsori.train.monitor import ILLNESSES, Doctor


@pytest.fixture
def doctor():
    told = []
    made = Doctor(set(), told.append)
    made.records = told
    return made


def watch(doctor, steps, values):
    for step in range(1, steps + 1):
        doctor.step(step, values(step))
    return [(entry["illness"], entry["step"]) for entry in doctor.records]


PLANTED = {
    "the discriminator wins": ("discriminator/discriminator_accuracy", 0.999, 0.8, 499),
    "only blanks": ("recognizer/blank_share", 1.0, 0.9, 1699),
    "attention is not diagonal": ("acoustic/attention_diagonality", 0.36, 0.9, 3199),
    "the codebooks have collapsed": ("listener/codes_used", 0.02, 0.4, 1199),
}


@pytest.mark.parametrize("illness", PLANTED)
def test_an_ill_sign_is_told_once_when_it_lasts(doctor, illness):
    name, ill, _, first = PLANTED[illness]
    assert watch(doctor, first + 800, lambda step: {name: ill}) == [(illness, first)]
    assert any(part in doctor.records[0]["message"] for part in ("learning_rate", "weight"))


@pytest.mark.parametrize("illness", PLANTED)
def test_a_healthy_sign_is_not(doctor, illness):
    name, ill, healthy, first = PLANTED[illness]
    assert watch(doctor, first + 800, lambda step: {name: healthy if step % 10 else ill}) == []


def test_every_illness_is_planted():
    assert {illness.name for illness in ILLNESSES} == set(PLANTED)


def test_exploding_gradients_are_told_and_one_spike_is_not(doctor):
    def norms(step):
        return {"generator/gradient_norm": 500.0 if step == 150 or step >= 400 else 2.0 + step % 3}

    ((illness, step),) = watch(doctor, 450, norms)
    assert illness == "gradients of 'generator' explode" and 400 < step <= 410
    assert "it used to be 3" in doctor.records[0]["message"]
    assert "optimizers.generator.learning_rate" in doctor.records[0]["message"]


def test_norms_of_single_losses_are_not_the_turns(doctor):
    assert watch(doctor, 300, lambda step: {"generator/mel/gradient_norm": 1e9 if step > 200 else 1.0}) == []


def test_validation_that_stands_still_is_told(doctor):
    measured = [5.0, 4.0, 3.0, 3.1, 3.0, 3.2, 3.05, 3.0, 3.3]
    for count in range(1, len(measured) + 1):
        doctor.validated(100 * count, measured[:count])
    assert [(entry["illness"], entry["step"]) for entry in doctor.records] == [("validation stands still", 900)]


def test_what_was_told_in_a_run_is_not_told_again():
    records = []
    doctor = Doctor({"only blanks"}, records.append)
    for step in range(3000):
        doctor.step(step, {"recognizer/blank_share": 1.0})
    assert records == []
