"""The connection to the manager: sessions, reports, requests, streams."""
