"""Count matrices in the containers deposits use: 10x HDF5, Market Exchange, delimited text, h5ad."""
