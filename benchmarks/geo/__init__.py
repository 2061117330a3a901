"""The map index and the fences against their peers: one file for each question."""
