"""`MPS3`, and what its calls return: writes, subscriptions, watches, transactions, history, presence, typed views.

Each call names keys as users do, and hands over to the manifests that it is about. No request is made here.
"""
