"""From one specification to another: rolling updates, canaries, rotation of secrets and configs."""
