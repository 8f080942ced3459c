"""The cluster's certificate authority: who is a member, and in which role."""
