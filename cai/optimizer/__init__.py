"""Optimizers: one file for each, the config class next to what it builds."""
