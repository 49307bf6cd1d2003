"""Speech synthesis: a text becomes speech."""
