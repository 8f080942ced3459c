"""`stack`: plan, deploy, remove."""
