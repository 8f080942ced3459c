"""/swarm/overview and /swarm/timeline: what the dashboard shows, for any client."""
