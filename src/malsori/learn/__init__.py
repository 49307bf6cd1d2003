"""Lessons: what speech models are trained by, told in two languages with numbers that the code here computes."""
