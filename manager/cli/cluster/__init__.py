"""The cluster as a whole: joining, status, events, certificates of clients."""
