"""Points and bins summed into the cells of a grid, with every count accounted for."""
