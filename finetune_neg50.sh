#!/usr/bin/env bash
# Fine-tune the base model on training_neg_50.json: 50 random negatives a query, of which each step draws some.
#
#   needs   ft_data/<profile>/training_neg_50.json, from notebooks/01_build_train_dataset.ipynb with neg_num = 50
#   takes   6 minutes on one CUDA card under msmarco (the article), about 2 on two CPU cores under demo
#   leaves  output/<profile>/<base model>_neg50: a sentence-transformers model, its curve, the last checkpoints
#
#   bash finetune_neg50.sh > finetune_neg50.log 2>&1 &    # in the background, from any folder
#   tail -f finetune_neg50.log
#   CHECK=1 bash finetune_neg50.sh                        # what it would do, and nothing more
#   RESUME=1 bash finetune_neg50.sh                       # go on after a crash, from the last whole checkpoint
#   FORCE=1 bash finetune_neg50.sh                        # replace the model of an earlier run
#   NPROC=2 CROSS_DEVICE_NEGATIVES=1 bash finetune_neg50.sh
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=first-host bash finetune_neg50.sh    # and NODE_RANK=1 on the other machine
# PROFILE picks the settings (profiles/demo.env by default); a variable overrides one: EPOCHS=2 bash finetune_neg50.sh
# The torchrun command with its flags is in helpers/finetune.sh.
set -euo pipefail
neg_num=50

source "$(dirname "${BASH_SOURCE[0]}")/helpers/finetune.sh"
