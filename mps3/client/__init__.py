"""`MPS3`, and what its calls return: writes, subscriptions, watches, transactions, history, presence, typed views.

Each call resolves its keys and calls their manifest. This room sends no requests itself.
"""
