"""Typed configuration: validation of composed trees, saving and loading."""
