"""A search for weights and other settings on the validation part."""
