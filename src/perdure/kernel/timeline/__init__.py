"""What a run did when, how far it is, and how two runs differ."""
