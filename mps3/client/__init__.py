"""`MPS3`, and what its calls return: writes, subscriptions, watches, transactions, history, presence, typed views.

Each call resolves its keys and calls the manifest that it is about. This room makes no request itself.
"""
