"""What all rooms stand on: settings, errors in one sentence, whole files, fingerprints, TREC files, the Hub."""
