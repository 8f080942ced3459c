"""What to do next for a task, and what its container and its files are made of. Pure."""
