"""The map: layers, tagging, coordinates, camera geometry. Pure."""
