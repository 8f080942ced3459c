"""/metrics: pages for Prometheus, and where there are more of them."""
