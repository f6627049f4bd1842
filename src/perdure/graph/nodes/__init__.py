"""What a graph consists of: nodes, paths between them, and their policies."""
