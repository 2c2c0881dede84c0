"""Garbage collection: it deletes the values that no state within the retention period refers to.

It reads the same states as any other client, and deletes only objects that belong to a manifest that it has read.
It commits nothing but the announcement of a collection, and does not depend on clients or their keys.
"""
