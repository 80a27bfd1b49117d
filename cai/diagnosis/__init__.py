"""What a machine can do, whether it computes rightly, and how long a config would take on it."""
