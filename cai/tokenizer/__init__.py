"""Tokenizers: one file for each kind; all end up as one self-contained ``tokenizer.json``."""
