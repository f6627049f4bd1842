"""Reading runs without driving them."""
