"""The manager's side of the connections to workers: joins, sessions, assignments, reports, streams."""
