"""Many runs and many processes: who drives what, for how long, and who takes over."""
