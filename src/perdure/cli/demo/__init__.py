"""The demo: a census of Python sources that is killed half-way and goes on."""
