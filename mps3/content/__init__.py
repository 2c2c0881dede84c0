"""Values that are objects of their own: storing, fetching, caching them, and whose they are.

Nothing here knows in which order values were committed.
"""
