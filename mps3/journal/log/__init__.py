"""The log journal: one object for each commit, created once, in the order of their numbers.

A commit is one create-if-absent of the next free slot. What is here reads slots and checkpoints, chooses slots, judges
commits at their place, and writes checkpoints. The format of the objects is in `mps3.format`.
"""
