"""What Prometheus is told of the cluster and of this manager, and under which names (docs/monitoring.md)."""
