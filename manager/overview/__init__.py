"""The cluster at a glance, kept up with the store change by change: what runs where, what is wrong, what happened."""
