#!/usr/bin/env bash
# What would bring more: hard negatives, a ready-made start, a teacher; each trained, measured and compared.
#
#   needs   run_all.sh of the same profile; three trainings more
#   takes   15 to 25 minutes on two CPU cores (demo)
#   leaves  three more training sets, models and results; executed notebooks 07 and 10 to 13
#
#   bash run_more.sh
#   FORCE=1 bash run_more.sh                               # train again what is there
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/helpers/environment.sh"
source "$here/helpers/steps.sh"

python -m helpers check hard ready_made taught
step "10 Mine hard negatives" python -m helpers notebook 10_mine_hard_negatives
step "Fine-tune on them" bash "$here/finetune_hard.sh"
step "04 Evaluate the model tuned on them" python -m helpers notebook 04_eval_neg10 name=hard
step "11 Fine-tune a ready-made embedder" python -m helpers notebook 11_finetune_ready_made
step "04 Evaluate it" python -m helpers notebook 04_eval_neg10 name=ready_made
step "12 Teach from scores" python -m helpers notebook 12_teach_from_scores
step "04 Evaluate the model that was taught" python -m helpers notebook 04_eval_neg10 name=taught
step "10 Once more, with what was measured" python -m helpers notebook 10_mine_hard_negatives
step "12 Once more, with all models" env FORCE=0 python -m helpers notebook 12_teach_from_scores
step "07 Compare the models" python -m helpers notebook 07_compare_models
step "13 Put the ready-made one to work" python -m helpers notebook 13_put_it_to_work
step "Results" python -m helpers report
