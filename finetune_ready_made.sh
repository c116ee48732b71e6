#!/usr/bin/env bash
# Fine-tune a ready-made embedder, READY_MADE_MODEL, on training_ready_made.json: random negatives, its own instruction.
#
#   needs   ft_data/<profile>/training_ready_made.json, from notebooks/11_finetune_ready_made.ipynb
#   takes   3 to 5 minutes on two CPU cores under demo
#   leaves  output/<profile>/<READY_MADE_MODEL>_ready_made and output/<profile>/finetune_ready_made.log
#
# Pooling, prompts and lengths are those of the model's own files; READY_MADE_LEARNING_RATE is its own, too. CHECK=1,
# RESUME=1, FORCE=1 and the other settings are those of finetune_neg10.sh, which has the command.
exec bash "$(dirname "${BASH_SOURCE[0]}")/finetune_neg10.sh" ready_made
