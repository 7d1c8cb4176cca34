"""How things are measured and shown: time, memory, the machine's limits, table and plot."""
