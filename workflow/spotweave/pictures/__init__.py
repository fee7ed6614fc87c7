"""Pictures as they were deposited: opened in one place, read smaller, and what they say of their pixel size."""
