"""A sample's patches through encoders: one of them into its file, or several that share one reading."""
