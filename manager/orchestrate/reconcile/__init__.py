"""What a service's tasks should be: its slots, one at a time."""
