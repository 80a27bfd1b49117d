"""What goes into a Hugging Face folder of a ``modern`` model, file by file, and is run there without CAI."""
