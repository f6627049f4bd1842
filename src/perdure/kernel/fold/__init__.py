"""What a run is, and how each event changes it."""
