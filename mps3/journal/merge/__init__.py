"""The journal of buckets with versions: what only merging needs.

Rules R2 to R8 of the protocol live here. What both journals share stays in the room above.
"""
