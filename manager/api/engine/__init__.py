"""The way to the nodes' engines: requests passed on, asked of all, or turned into streams."""
