"""What differs between the releases of scikit-learn that pyproject.toml allows, in one place.

Each constant names a rule of the newest release, and is False where the release that is
installed follows the one before it, which is then followed here too. docs/releases.md lists
them for users, with the differences that are left.
"""

import sklearn


def release_of(version: str) -> tuple[int, int]:
    """Major and minor number of a version."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


INSTALLED = release_of(sklearn.__version__)
NEWEST = (1, 9)  # of which all is known

# 1.9: MiniBatchKMeans draws the rows of its batches by their weights, and each row that was
# drawn counts once. Before: all rows are as likely, and count by their weights.
BATCHES_ARE_DRAWN_BY_WEIGHTS = INSTALLED >= (1, 9)

# 1.9: weights that are all zero are refused. Where scikit-learn has no weights, they always are.
ZERO_WEIGHTS_ARE_REFUSED = INSTALLED >= (1, 9)

# 1.9: OPTICS sorts the rows of a sparse precomputed matrix by distance before it searches. Before:
# each search sorts them for itself, and warns.
GRAPHS_ARE_SORTED_FIRST = INSTALLED >= (1, 9)

# 1.8: calinski_harabasz_score takes an array of numbers in words. Before: none of the scores.
SCORES_TAKE_WORDS = INSTALLED >= (1, 8)

# 1.8: k-means++ takes its running sums over float32 rows in float32. Before: in float64.
SEEDS_ARE_SUMMED_IN_FLOAT32 = INSTALLED >= (1, 8)

# 1.7: GaussianMixture computes on float32 rows in float32. Before: in float64, as all that it
# leaves after a fit; and the error for singular covariances gave two hints less.
MIXTURES_KEEP_FLOAT32 = INSTALLED >= (1, 7)
