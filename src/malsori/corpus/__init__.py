"""Recordings and their texts: layouts people keep them in, the ground truth made of them, and checks of both."""
