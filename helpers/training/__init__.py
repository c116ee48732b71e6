"""From a base model to an embedder: what is checked before, the training and its parts, its curve, its card."""
