"""From boxes in single pictures to things that keep their number."""
