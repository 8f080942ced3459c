"""Who answers a request, where there are several managers: this one from its store, or the leader."""
