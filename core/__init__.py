"""The shared words of the platform: observations, events, incidents, places, clocks, errors."""
