"""What all rooms stand on: settings, errors in one sentence, whole files, fingerprints, TREC files, the Hub."""

from helpers.base.clock import clock, timed
from helpers.base.errors import UserError, run_command
from helpers.base.files import read_json, read_jsonl, read_lines, whole_file, whole_folder, write_json, write_jsonl
from helpers.base.fingerprint import file_fingerprint, fingerprint, model_fingerprint
from helpers.base.hub import fetch
from helpers.base.profile import HUB_ID, ROOT, Profile, how_to_train, load_profile, neg_num_of, shell_lines, switch
from helpers.base.trec import DEPTH, Qrels, Run, ranking, read_qrels, read_run, write_run
