"""The cluster's nodes, and tasks moved between them."""
