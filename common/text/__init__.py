"""Text for people, and people's text as values."""
