"""What `helpers.finetune` adds to FlagEmbedding's trainer, one job a module."""
