"""Garbage collection: deleting the values that no state within the retention period refers to.

It reads the same states as any other client, and deletes only objects that a manifest it has read can claim.
It commits nothing but the announcement of a collection, and it knows nothing of clients or of their keys.
"""
