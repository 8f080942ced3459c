"""Flags as values of the model: one module a syntax, all pure. A wrong text raises ValueError with the reason."""
