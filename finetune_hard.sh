#!/usr/bin/env bash
# Fine-tune the base model on training_hard.json: mined negatives, filled up with random ones.
#
#   needs   ft_data/<profile>/training_hard.json, from notebooks/10_mine_hard_negatives.ipynb
#   takes   5 minutes on two CPU cores under demo
#   leaves  output/<profile>/<base model>_hard and output/<profile>/finetune_hard.log
#
# MINED_GROUP_SIZE and MINED_EPOCHS stand for GROUP_SIZE and EPOCHS. CHECK=1, RESUME=1, FORCE=1 and the other settings
# are those of finetune_neg10.sh, which has the command.
exec bash "$(dirname "${BASH_SOURCE[0]}")/finetune_neg10.sh" hard
