#!/usr/bin/env bash
# Fine-tune the base model on training_taught.json: a teacher's scores of the positive and the negatives of each query.
#
#   needs   ft_data/<profile>/training_taught.json, from notebooks/12_teach_from_scores.ipynb
#   takes   5 minutes on two CPU cores under demo
#   leaves  output/<profile>/<base model>_taught and output/<profile>/finetune_taught.log
#
# MINED_GROUP_SIZE and MINED_EPOCHS stand for GROUP_SIZE and EPOCHS. CHECK=1, RESUME=1, FORCE=1 and the other settings
# are those of finetune_neg10.sh, which has the command.
exec bash "$(dirname "${BASH_SOURCE[0]}")/finetune_neg10.sh" taught
