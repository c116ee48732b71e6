#!/usr/bin/env bash
# Fine-tune the base model on training_taught.json: a teacher's scores of the positive and the negatives of each query.
#
#   needs   ft_data/<profile>/training_taught.json, from notebooks/12_teach_from_scores.ipynb
#   takes   as long as finetune_neg10.sh, which has the command
#   leaves  output/<profile>/<base model>_taught and output/<profile>/finetune_taught.log
#
# CHECK=1, RESUME=1, FORCE=1 and all settings are those of finetune_neg10.sh; MATRYOSHKA=384,192,96 goes well with it.
exec bash "$(dirname "${BASH_SOURCE[0]}")/finetune_neg10.sh" taught
