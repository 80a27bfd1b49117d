"""Search over options: the space, the study, and what becomes of its trials. Knows neither Hydra nor how a run starts."""
