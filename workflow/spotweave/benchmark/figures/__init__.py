"""Pictures of the comparison of predictors in one task: ranks, scores, genes on sections, clusters."""
