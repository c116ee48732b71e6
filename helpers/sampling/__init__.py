"""Pairs from any source, the split, the negatives: the training set and the evaluation set."""

from helpers.sampling.eval_set import EVAL_MANIFEST, EvalSet, build_eval_rows, load_eval_set, save_eval_set
from helpers.sampling.pairs import load_pairs
from helpers.sampling.sources import check_trains, trains
from helpers.sampling.split import negative_pool, sample_negatives, split_pairs
from helpers.sampling.texts import distinct, excerpt, text_id
from helpers.sampling.training_set import TrainingSet, save_training_set, training_rows
