"""S3 and what is compatible with it, through aiobotocore: requests, signatures, errors, listings, vendors.

This is the only place that imports the SDK. It takes long to load, so nothing above imports this package at its top.
"""
