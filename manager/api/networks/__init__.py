"""The cluster's networks, and containers in them."""
