"""Size, shape and density of nuclei against gene expression, per spot or per cell: HEST-1k's exploration of biomarkers.

`units` brings both sides together, `correlate` tests every pair of a gene and a feature against shifts of the section
(`shifts`, `autocorrelation`, `bootstrap`), `figures` draws what was found; `sample` is the job.
"""
