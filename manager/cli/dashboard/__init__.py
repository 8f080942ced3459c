"""The dashboard: a gate on loopback, by which a browser reaches the API as its user."""
