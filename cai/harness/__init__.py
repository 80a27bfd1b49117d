"""CAI runs in EleutherAI's lm-evaluation-harness (``pip install "cai[lm-eval]"``), without a network."""
