"""What the worker's queue does: fairness, overload, cancellation, and memory over many requests."""
