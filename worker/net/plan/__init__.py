"""What this host's network should be. Pure."""
