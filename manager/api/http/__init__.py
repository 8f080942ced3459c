"""HTTP itself: sockets, TLS, limits, bodies, connections that become streams."""
