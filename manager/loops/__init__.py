"""The loops that keep the cluster moving: watch, decide once a commit, commit the decision."""
