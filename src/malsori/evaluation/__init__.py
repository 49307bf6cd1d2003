"""How good a model is: on a corpus it was not trained on, or on texts."""
