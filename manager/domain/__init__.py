"""Rules that the API and the deciders share. Pure: a state and an instant go in, values come out."""
