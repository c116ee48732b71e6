# Sourced by finetune_neg10.sh and finetune_neg50.sh, which set neg_num: checks, then torchrun, then the model's card.

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
settings=$(python -m helpers.base.profile)     # checked, and with what the environment overrides
source /dev/stdin <<< "$settings"
model=$OUTPUT_DIR/${BASE_NAME}_neg$neg_num
log=$OUTPUT_DIR/finetune_neg$neg_num$([[ $NODE_RANK == 0 ]] || echo "_node$NODE_RANK").log

if [[ $NODE_RANK == 0 && ${CHECK:-0} != 1 ]]; then  # the other machines write nothing but their logs
  mkdir -p "$OUTPUT_DIR"
  exec 8>> "$OUTPUT_DIR/.neg$neg_num.lock"
  if ! lock 8; then
    echo "error: $model is being trained by another process; wait until it has ended, or end it." >&2
    exit 2
  fi
fi

# A log that can be followed: a line every LOGGING_STEPS steps, no bars.
export PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore HF_HUB_DISABLE_PROGRESS_BARS=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1
python -m helpers.training.prepare training "$neg_num"  # says in one sentence what is missing or in the way
if [[ ${CHECK:-0} == 1 ]]; then
  exit
fi
base_model=$(python -m helpers.encoding.models)

options=()                                # flags that only some runs have
if ! python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  options+=(--use_cpu True)               # without it, several processes would each train alone
  PRECISION=${PRECISION/fp16/fp32}        # a CPU has no fp16
fi
if [[ $PRECISION != fp32 ]]; then
  options+=("--$PRECISION")
fi
if (( GRAD_CACHE )); then
  options+=(--sub_batch_size "$GRAD_CACHE")
fi
if (( EVAL_STEPS )); then                 # the best step is kept, so each score needs its checkpoint
  SAVE_STEPS=$EVAL_STEPS
  options+=(--eval_strategy steps --eval_steps "$EVAL_STEPS")
  options+=(--load_best_model_at_end True --metric_for_best_model ndcg@10 --greater_is_better True)
fi
append=()
if [[ ${RESUME:-0} == 1 && -e $model ]]; then
  checkpoint=$(python -m helpers.training.checkpoints "$model")
  options+=(--resume_from_checkpoint "$checkpoint")
  append=(a)
fi
machines=(--standalone)
if (( NNODES > 1 )); then
  machines=(--nnodes "$NNODES" --node_rank "$NODE_RANK" --master_addr "$MASTER_ADDR" --master_port "$MASTER_PORT")
fi

mkdir -p "$OUTPUT_DIR"
export TENSORBOARD_LOGGING_DIR=$OUTPUT_DIR/tensorboard/neg$neg_num
torchrun "${machines[@]}" --nproc_per_node "$NPROC" \
  -m helpers.training.finetune \
  --model_name_or_path "$base_model" \
  --train_data "$DATA_DIR/training_neg_$neg_num.json" \
  --train_group_size "$GROUP_SIZE" \
  --query_max_len "$QUERY_MAX_LEN" \
  --passage_max_len "$PASSAGE_MAX_LEN" \
  --pad_to_multiple_of 8 \
  --query_instruction_for_retrieval "$INSTRUCTION" \
  --query_instruction_format '{}{}' \
  --output_dir "$model" \
  --learning_rate "$LEARNING_RATE" \
  --num_train_epochs "$EPOCHS" \
  --per_device_train_batch_size "$BATCH_SIZE" \
  --negatives_cross_device "$CROSS_DEVICE_NEGATIVES" \
  --warmup_steps "$WARMUP" \
  --logging_steps "$LOGGING_STEPS" \
  --logging_nan_inf_filter False \
  --save_steps "$SAVE_STEPS" \
  --save_total_limit 2 \
  --temperature "$TEMPERATURE" \
  --sentence_pooling_method "$POOLING" \
  --normalize_embeddings True \
  --kd_loss_type kl_div \
  --seed "$SEED" \
  --report_to "$REPORT_TO" \
  --disable_tqdm True \
  ${options[@]+"${options[@]}"} 2>&1 | python -m helpers.training.log "$log" ${append[@]+"${append[@]}"}
if [[ $NODE_RANK == 0 ]]; then
  python -m helpers.training.card "$neg_num"
fi
