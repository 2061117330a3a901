"""Connectors: wire formats of others, each a decoder file and a table of samples in a folder."""
