"""Waves and what is measured in them: sound files, mel spectrograms, pitch, cepstra."""
