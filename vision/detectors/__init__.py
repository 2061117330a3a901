"""What may be noticed in a picture: one file for each, one protocol for all."""
