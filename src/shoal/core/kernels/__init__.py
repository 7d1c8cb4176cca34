"""The kernel that needs rows alone, and what the kernels of all wings are written in."""
