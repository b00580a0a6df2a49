"""Opened splits: which samples there are, and what is present in each after the missing table. No tensors."""
