"""The parts of the running manager: those that live as long as the daemon, and those that exist only while it leads."""
