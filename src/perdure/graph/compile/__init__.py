"""From declarations to a plan: forks, joins and their parents, and whether all of it holds together."""
