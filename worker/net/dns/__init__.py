"""The containers' name server."""
