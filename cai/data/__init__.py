"""Data: sources of documents and their split; one file for each, the config class next to what it builds."""
