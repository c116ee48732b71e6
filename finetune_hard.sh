#!/usr/bin/env bash
# Fine-tune the base model on training_hard.json: mined negatives, filled up with random ones.
#
#   needs   ft_data/<profile>/training_hard.json, from notebooks/10_mine_hard_negatives.ipynb
#   takes   as long as finetune_neg10.sh, which has the command
#   leaves  output/<profile>/<base model>_hard and output/<profile>/finetune_hard.log
#
# CHECK=1, RESUME=1, FORCE=1 and all settings are those of finetune_neg10.sh.
exec bash "$(dirname "${BASH_SOURCE[0]}")/finetune_neg10.sh" hard
