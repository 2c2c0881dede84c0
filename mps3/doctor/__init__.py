"""`diagnose` tries everything that a client needs of a bucket, and says which journal the bucket allows.

The objects that it makes are removed again. Only the command line imports this room, and nothing is printed here.
"""
