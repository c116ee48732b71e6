#!/usr/bin/env bash
# Fine-tune the base model on training_neg_10.json: 10 random negatives a query, of which each step draws some.
#
#   needs   ft_data/<profile>/training_neg_10.json, from notebooks/01_build_train_dataset.ipynb with neg_num = 10
#   takes   6 minutes on one CUDA card under msmarco (the article), about 2 on two CPU cores under demo
#   leaves  output/<profile>/<base model>_neg10: a sentence-transformers model, its curve, the last checkpoints
#           output/<profile>/finetune_neg10.log: what the last training printed
#
#   bash finetune_neg10.sh > neg10.log 2>&1 &             # in the background
#   tail -f neg10.log
#   CHECK=1 bash finetune_neg10.sh                        # what it would do, and nothing more
#   RESUME=1 bash finetune_neg10.sh                       # go on after a crash, from the last whole checkpoint
#   FORCE=1 bash finetune_neg10.sh                        # replace the model of an earlier run
#   NPROC=2 CROSS_DEVICE_NEGATIVES=1 bash finetune_neg10.sh
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=first-host bash finetune_neg10.sh    # and NODE_RANK=1 on the other machine
# PROFILE picks the settings (profiles/demo.env by default); a variable overrides one: EPOCHS=2 bash finetune_neg10.sh
set -euo pipefail
neg_num=10
name=${1:-neg$neg_num}  # finetune_hard.sh and others give theirs

source "$(dirname "${BASH_SOURCE[0]}")/helpers/environment.sh"  # finds or makes a Python with all that is needed
export PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore HF_HUB_DISABLE_PROGRESS_BARS=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1
values=$(python -m helpers prepare "$name")                      # checks all; says in one sentence what is wrong
# What it prints are the settings in force, as in profiles/demo.env, with paths and lists for the command below:
# MACHINES is --standalone, or which machines train together; OPTIONS has the flags that not every run needs, such as
# --fp16, --use_cpu, --save_steps, --eval_steps, --sub_batch_size, --resume_from_checkpoint. Under CHECK=1 it ends here.
source /dev/stdin <<< "$values"

# FlagEmbedding's runner and flags, with a resume that restores, scores on the way and a log for people.
torchrun "${MACHINES[@]}" --nproc_per_node "$NPROC" \
  -m helpers.training.finetune \
  --model_name_or_path "$BASE" \
  --train_data "$TRAIN_DATA" \
  --output_dir "$MODEL" \
  --learning_rate "$LEARNING_RATE" \
  --num_train_epochs "$EPOCHS" \
  --per_device_train_batch_size "$BATCH_SIZE" \
  --train_group_size "$GROUP_SIZE" \
  --temperature "$TEMPERATURE" \
  --warmup_steps "$WARMUP" \
  --query_max_len "$QUERY_MAX_LEN" \
  --passage_max_len "$PASSAGE_MAX_LEN" \
  --pad_to_multiple_of 8 \
  --query_instruction_for_retrieval "$INSTRUCTION" \
  --query_instruction_format '{}{}' \
  --sentence_pooling_method "$POOLING" \
  --normalize_embeddings True \
  --negatives_cross_device "$CROSS_DEVICE_NEGATIVES" \
  --kd_loss_type kl_div \
  --seed "$TRAINING_SEED" \
  --logging_steps "$LOGGING_STEPS" \
  --logging_nan_inf_filter False \
  --save_total_limit 2 \
  --report_to "$REPORT_TO" \
  --disable_tqdm True \
  "${OPTIONS[@]}" 2>&1 | python -m helpers log "$LOG"
