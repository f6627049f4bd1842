"""What people and programs ask of runs: start, answer, pause, retry, fork and the other verbs."""
