"""The parts of the running manager: what stands as long as the daemon, and what is there only while it leads."""
