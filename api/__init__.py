"""The HTTP interface: incidents, events, layers, live stream, the page."""
