"""Where the store is durable."""
