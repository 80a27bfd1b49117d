"""A look at what a model, a checkpoint or a run is made of."""
