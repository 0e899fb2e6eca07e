"""The pipeline by hand: the one to beat."""
