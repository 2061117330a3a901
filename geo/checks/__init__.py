"""Checks of layers before they are taken in: place, partition, geometry."""
