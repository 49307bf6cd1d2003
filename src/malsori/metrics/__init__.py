"""Numbers that say how good speech and transcripts are, each with its definition."""
