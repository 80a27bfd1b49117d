"""Runs side by side: found and read, ranked, as a table, as files, as a report. The library of ``cai compare``."""
