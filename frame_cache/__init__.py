"""Keeps frames and prepared tensors under one byte budget."""
