"""Bytes: local files, remote addresses, the cache, locks. Nothing here knows what a sample is."""
