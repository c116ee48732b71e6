"""What a search was worth: measures, results, tests, tables, pictures; and what to know about the data."""

from helpers.evaluation.metrics import average, score_queries
from helpers.evaluation.results import comparable_results, load_runs, save_result
