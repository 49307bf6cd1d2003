"""The blocks that the models are made of: convolutions, attention, length changes."""
