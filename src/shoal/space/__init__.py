"""Rows as points in space: tiles for all pairs, trees, who is near, spanning trees."""
