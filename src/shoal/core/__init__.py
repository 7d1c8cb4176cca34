"""What every wing stands on: rows and their sources, blocks and threads, checks."""
