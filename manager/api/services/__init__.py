"""Services, their tasks and their updates."""
