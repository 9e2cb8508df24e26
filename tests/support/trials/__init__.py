"""Scripted incidents and near misses: the streets, their rules, and what the rules tell of them."""
