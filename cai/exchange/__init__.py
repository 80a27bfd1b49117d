"""Trained models in the formats of other programs, written and read, each compared with the original."""
