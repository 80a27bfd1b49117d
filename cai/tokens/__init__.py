"""Where a corpus and a tokenizer meet: token shards, and the batches of a step."""
