"""Days of random cases: what fuzz.py runs in its child processes."""
