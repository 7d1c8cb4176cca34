"""The trees of a fit as arrays, data frames and plots."""
