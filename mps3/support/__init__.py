"""What any asyncio library might have: the environment to inject, bounded concurrency, SQLite in a thread.

Nothing here knows of stores, manifests or keys. It may import `mps3.errors` and `mps3.types` only.
"""
