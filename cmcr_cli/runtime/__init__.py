"""The machine that a run has: its devices, threads, memory and disk."""
