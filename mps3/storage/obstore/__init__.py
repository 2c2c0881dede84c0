"""Google Cloud Storage and Azure Blob Storage, through obstore.

Only `stores.py` imports obstore, which is an extra: ``mps3[obstore]``.
"""
