"""The benchmark: tasks split by donor, probes scored under named protocols, encoders ranked.

`splits` makes the folds, `samples` reads expression and embeddings, `genes` and `targets` are the two halves of what is
predicted, `scores` is the measure, `evaluate` does one task x protocol x encoder x probe, `leaderboard` and `figure`
put all of them side by side.
"""
