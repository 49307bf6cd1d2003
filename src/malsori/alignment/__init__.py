"""Which stretch of a sound belongs to which part of its text."""
