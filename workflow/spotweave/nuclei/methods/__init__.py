"""One module here is one way to find nuclei; the contract is in `spotweave.nuclei`."""
