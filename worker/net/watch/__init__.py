"""What the host has, and what others change in it."""
