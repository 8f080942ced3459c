"""What both programs do as processes: start, log, signal readiness, keep private files."""
