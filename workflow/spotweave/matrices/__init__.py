"""Count matrices in the containers deposits use (`read`), the names in them, and what of them are genes and units."""
