#!/usr/bin/env bash
# The whole series: build the data, measure the raw model, fine-tune twice, measure again, compare.
#
#   needs   Python 3.11 or newer; PROFILE=msmarco also the Hugging Face Hub and, in practice, a CUDA card
#   takes   5 to 9 minutes on two CPU cores (demo), after the installation
#   leaves  ft_data/<profile>/ and output/<profile>/: data, models, executed notebooks, runs and results
#
#   bash run_all.sh                                        # profile demo
#   PROFILE=msmarco bash run_all.sh                        # the article's experiment
#   DATASET=my_pairs.jsonl MAX_PAIRS=1500 bash run_all.sh  # your own pairs of query and positive
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/helpers/steps.sh"

step "Environment" source "$here/helpers/environment.sh"
python -m helpers check neg10 neg50
step "01 Training set with 10 negatives a query" python -m helpers notebook 01_build_train_dataset neg_num=10
step "01 Training set with 50 negatives a query" python -m helpers notebook 01_build_train_dataset neg_num=50
step "02 Evaluation set" python -m helpers notebook 02_build_eval_dataset
step "03 Evaluate the raw model" python -m helpers notebook 03_eval_raw_bert
step "Fine-tune on 10 negatives a query" bash "$here/finetune_neg10.sh"
step "Fine-tune on 50 negatives a query" bash "$here/finetune_neg50.sh"
step "04 Evaluate the model tuned on 10 negatives" python -m helpers notebook 04_eval_neg10
step "05 Evaluate the model tuned on 50 negatives" python -m helpers notebook 05_eval_neg50
step "06 Evaluate the ready-made embedder" python -m helpers notebook 06_eval_bge_m3
step "07 Compare the models" python -m helpers notebook 07_compare_models
step "08 The loss, taken apart" python -m helpers notebook 08_contrastive_loss
step "Results" python -m helpers report
