"""What the API and the dashboard's gate both decide of a request: whose site it is of, whose token it has."""
