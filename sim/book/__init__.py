"""Option positions as columns, and dealers' hedge of them."""
