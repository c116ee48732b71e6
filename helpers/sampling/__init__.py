"""Pairs from any source, the split, the negatives: the training set and the evaluation set."""

from helpers.sampling.eval_set import EvalSet, build_eval_rows, corpus_rows, load_eval_set, save_eval_set
from helpers.sampling.pairs import load_pairs, read_distractors
from helpers.sampling.split import negative_pool, sample_negatives, split_pairs
from helpers.sampling.texts import excerpt
from helpers.sampling.training_set import read_training_rows, save_training_rows, training_rows
