"""Tables and the configuration, each held against its schema; the vocabularies of cells; choices of samples."""
