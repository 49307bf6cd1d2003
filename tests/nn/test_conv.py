"""The predictor of one number a token."""

import torch

from malsori.nn.conv import ConvolutionPredictor
from malsori.shapes import length_mask


def test_the_predictor_is_blind_to_padding_and_silent_on_it():
    torch.manual_seed(0)
    predictor = ConvolutionPredictor(input_size=6, hidden_size=8, kernel_size=5, dropout=0.5).eval()
    tokens, mask = torch.randn(2, 9, 6), length_mask(torch.tensor([9, 4]))
    predicted = predictor(tokens, mask)
    assert predicted.shape == (2, 9) and (predicted[~mask] == 0).all()
    spoilt = torch.where(mask[..., None], tokens, 1e3)
    torch.testing.assert_close(predictor(spoilt, mask), predicted)
    torch.testing.assert_close(predictor(tokens[1:, :4], mask[1:, :4])[0], predicted[1, :4])


def test_the_predictor_drops_features_in_training_only():
    predictor = ConvolutionPredictor(input_size=6, hidden_size=8, kernel_size=3, dropout=0.5)
    tokens, mask = torch.randn(1, 9, 6), torch.ones(1, 9, dtype=torch.bool)
    assert not torch.equal(predictor(tokens, mask), predictor(tokens, mask))
    predictor.eval()
    assert torch.equal(predictor(tokens, mask), predictor(tokens, mask))
