"""Values: which are inline; how the others are stored as objects of their own, fetched and cached, and who owns them.

Nothing here depends on the order of commits.
"""
