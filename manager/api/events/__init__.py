"""What happens in the cluster, as one stream."""
