"""The named volumes of this host: which there are, and whose data is in them."""
