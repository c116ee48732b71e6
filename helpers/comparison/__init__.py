"""Which model is better, by how much, and whether that is shown: what `07_compare_models` draws and tells."""
