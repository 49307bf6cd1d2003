"""Speech recognition: a sound becomes a transcript, or a known text is laid over it."""
