"""The default model: architecture, data, loss, training, export and evaluation."""
