"""Rules, correlation, routing, the case process. Pure."""
