"""What tasks use."""
