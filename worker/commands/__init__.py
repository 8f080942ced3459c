"""The commands of `swarm-worker`."""
