"""What labels, templates and extensions of a specification mean. Pure; shared by client, manager and workers."""
