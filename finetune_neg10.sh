#!/usr/bin/env bash
# Fine-tune the base model on training_neg_10.json: 10 random negatives a query, of which each step draws some.
#
#   needs   ft_data/<profile>/training_neg_10.json, from notebooks/01_build_train_dataset.ipynb with neg_num = 10
#   takes   6 minutes on one CUDA card under msmarco (the article), about 2 on two CPU cores under demo
#   leaves  output/<profile>/<base model>_neg10: weights, tokenizer and the last checkpoint
#
# In the background, from any folder:
#   bash finetune_neg10.sh > finetune_neg10.log 2>&1 &
#   tail -f finetune_neg10.log
# PROFILE picks the settings (profiles/demo.env by default); a variable overrides one: EPOCHS=2 bash finetune_neg10.sh
set -euo pipefail
neg_num=10

source "$(dirname "${BASH_SOURCE[0]}")/helpers/environment.sh"
settings=$(python -m helpers.profile)     # checked, and with what the environment overrides
source /dev/stdin <<< "$settings"
python -m helpers.preflight training "$neg_num"  # says in one sentence what is missing or in the way
base_model=$(python -m helpers.models)

precision=()                              # half precision pays on a CUDA card only
if [[ $PRECISION != fp32 ]] && python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  precision=("--$PRECISION")
fi

# A log that can be followed: all settings first, then a line every LOGGING_STEPS steps, no bars.
export PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore HF_HUB_DISABLE_PROGRESS_BARS=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1
torchrun --standalone --nproc_per_node=1 \
  -m FlagEmbedding.finetune.embedder.encoder_only.base \
  --model_name_or_path "$base_model" \
  --train_data "$DATA_DIR/training_neg_$neg_num.json" \
  --train_group_size "$GROUP_SIZE" \
  --query_max_len "$QUERY_MAX_LEN" \
  --passage_max_len "$PASSAGE_MAX_LEN" \
  --pad_to_multiple_of 8 \
  --query_instruction_for_retrieval "$INSTRUCTION" \
  --query_instruction_format '{}{}' \
  --output_dir "$OUTPUT_DIR/${BASE_NAME}_neg$neg_num" \
  --learning_rate "$LEARNING_RATE" \
  ${precision[@]+"${precision[@]}"} \
  --num_train_epochs "$EPOCHS" \
  --per_device_train_batch_size "$BATCH_SIZE" \
  --warmup_steps "$WARMUP" \
  --logging_steps "$LOGGING_STEPS" \
  --save_steps "$SAVE_STEPS" \
  --temperature "$TEMPERATURE" \
  --sentence_pooling_method "$POOLING" \
  --normalize_embeddings True \
  --kd_loss_type kl_div \
  --seed "$SEED" \
  --disable_tqdm True
