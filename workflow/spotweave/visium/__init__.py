"""What is common to Visium files of all ages: the array, its barcodes, positions, scale factors."""
