"""Readers of recordings as people and corpora lay them out: one kind of folder or table a file."""
