"""A second world of organisations, which shares no name, place or wording with the training data: for evaluation."""
