"""Calling user code: contexts, bodies, threads, streams, and what is evaluated beside them."""
