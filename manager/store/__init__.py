"""The cluster's state: in memory, durable in a backend, changed by transactions, watched by everyone."""
