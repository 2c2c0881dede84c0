"""Garbage collection: deleting what no state within the retention names any more.

It reads the same states as any client, and deletes only what it can tell is its own.
"""
