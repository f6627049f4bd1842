"""Driving one run: take results, decide, commit, act; and rebuild a run from its log."""
