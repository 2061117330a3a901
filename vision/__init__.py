"""From frames to detections. Knows pixels; asks a port for metres. Pure."""
