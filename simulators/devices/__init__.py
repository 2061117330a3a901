"""The fixed devices of a whole city: what each kind measures, how it reports, what it sends."""
