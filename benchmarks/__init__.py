"""What perdure costs, measured beside a peer and beside the least a durable loop can cost. See README.md."""
