"""The library behind the workflow: all logic, no Snakemake."""
