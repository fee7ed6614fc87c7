"""The benchmark: tasks split by donor, predictions kept as files, scored under named protocols, predictors ranked.

`splits` makes the folds. `choosing` writes the genes and counts of a task (`targets`), once for all predictors.
`fitting` is one fold of a probe over an encoder (`embeddings`), and what it says of the test spots is a file
(`predictions`). `scoring` applies the chosen metrics to all predictions and fills the `long_table` of scores and the
`folds_table` beside it; `leaderboard`, `figure` and `comparison` read only these two.
"""
