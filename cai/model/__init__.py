"""Models: one file for each, the config class next to the module it builds."""
