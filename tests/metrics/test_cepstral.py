"""Mel-cepstral distortion: the seed's example, planted answers, properties."""

import numpy as np
import pytest

from malsori.errors import MetricError
from malsori.metrics.cepstral import DECIBELS, mel_cepstral_distortion

SEED = [1.0, 2.0, 3.0, 4.0], [0.8, 2.1, 3.2, 4.3]


def test_the_seeds_vectors_are_2_61_db_apart_with_c0_and_2_30_without():
    assert mel_cepstral_distortion(*SEED, include_c0=True) == pytest.approx(2.6058, abs=1e-4)
    assert mel_cepstral_distortion(*SEED) == pytest.approx(2.2981, abs=1e-4)


def test_a_distance_of_one_is_6_14_db():
    assert mel_cepstral_distortion([0.0, 0.0], [5.0, 1.0]) == pytest.approx(DECIBELS)
    assert pytest.approx(6.1418, abs=1e-4) == DECIBELS


def test_frames_are_averaged():
    assert mel_cepstral_distortion(np.zeros((2, 3)), [[9, 0, 1], [9, 0, 3]]) == pytest.approx(2 * DECIBELS)


@pytest.mark.parametrize("wrong", [np.zeros((2, 4)), np.zeros((0, 3)), [[1.0, 2.0, np.nan]]])
def test_cepstra_that_cannot_be_compared_are_told(wrong):
    with pytest.raises(MetricError, match="cepstra"):
        mel_cepstral_distortion(np.zeros((1, 3)) if np.size(wrong) else wrong, wrong)
