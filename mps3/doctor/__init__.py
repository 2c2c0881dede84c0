"""Tests of everything that a client needs of a bucket, and of which journal the bucket allows.

The objects that they create are removed again. Only the command line imports this room, and nothing is printed here.
"""
