"""Labels, probabilities and memberships of new rows, by the tree of a fit."""
