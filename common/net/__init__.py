"""Names and addresses: how a cluster's pools are divided, and what a host calls itself."""
