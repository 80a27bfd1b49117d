"""The trainer: the loop, its evaluation, its checkpoints."""
