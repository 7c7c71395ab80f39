"""Makes a `Frame` into the tensors a model asks for, and remembers the geometry."""
