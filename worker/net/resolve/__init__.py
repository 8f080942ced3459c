"""What a name means, and how DNS says it. Pure."""
