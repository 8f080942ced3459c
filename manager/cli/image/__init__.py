"""`image`: built, pulled, pushed, pinned."""
