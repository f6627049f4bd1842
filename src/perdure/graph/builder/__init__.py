"""Declaring a graph."""
