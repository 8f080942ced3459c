"""`network` and `volume`."""
