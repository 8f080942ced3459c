"""The manager's public interface: a Docker Engine API server for the whole cluster."""
