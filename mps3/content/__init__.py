"""Values that are stored as objects of their own: how they are stored, fetched and cached, and who owns them.

Nothing here depends on the order of commits.
"""
