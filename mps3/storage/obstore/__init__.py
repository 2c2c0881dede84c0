"""Google Cloud Storage and Azure Blob Storage, through obstore.

Only this folder imports obstore, which is an extra: ``mps3[obstore]``. It is imported when a storage is opened.
"""

from .storage import ObstoreStorage

__all__ = ["ObstoreStorage"]
