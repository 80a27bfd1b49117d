"""Decoding: from rows of ids to rows of more ids, exactly as the model would say it without any shortcut."""
