"""What all rooms stand on: settings, one-sentence errors, whole files, fingerprints, manifests, TREC files, the Hub."""

from helpers.base.clock import timed
from helpers.base.errors import UserError, run_command
from helpers.base.files import Rows, read_json, read_jsonl, read_lines, whole_file, write_json, write_jsonl, writing
from helpers.base.fingerprint import file_fingerprint, fingerprint, model_fingerprint
from helpers.base.hub import fetch
from helpers.base.manifest import MANIFEST, code_of, differing, make, manifest_of, read_manifest, write_manifest
from helpers.base.profile import HUB_ID, ROOT, Profile, check_name, how_to_train, load_profile, shell_lines, switch
from helpers.base.trec import DEPTH, Qrels, Run, positives, ranking, read_qrels, read_run, write_run
