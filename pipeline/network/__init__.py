"""What learns: the model, its training batches, and what compression and conversion make of it."""
