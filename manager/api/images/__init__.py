"""Images of all nodes, as one set."""
