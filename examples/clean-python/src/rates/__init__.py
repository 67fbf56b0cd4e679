"""Postage quotes."""
