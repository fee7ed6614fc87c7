"""Drafts of cohort tables for deposits that nobody has described yet."""
