"""The host itself: joining and leaving, locks, resources, tools."""
