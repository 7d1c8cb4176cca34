"""Random fits compared with scikit-learn's, and why any differ: python -m trials.kmeans, ..."""
