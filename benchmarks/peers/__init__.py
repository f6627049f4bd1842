"""Peers: the same work done by other systems, each in a process and an environment of its own."""
