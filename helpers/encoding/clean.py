"""Vectors that have lost their model or their texts, and what an encoding that was killed has left."""

from itertools import product

from helpers.base import Profile, fingerprint, manifest_of, model_fingerprint, read_manifest
from helpers.base.manifest import busy
from helpers.encoding.encoder import embedder_settings
from helpers.sampling import load_eval_set


def clean(profile: Profile, remove: bool) -> None:
    """Print the files of vectors of which the profile has no model, queries or corpus any more, or that are not whole.

    Remove them if told so; those of an encoding that runs are none of them.
    Raises UserError: there is no evaluation set, or the base or the reference is out of reach.
    """
    eval_set = load_eval_set(profile.data_dir)
    folders = [embedder_settings(profile, name).folder for name in ("raw", "reference")]
    folders += [path.parent for path in profile.output_dir.glob("*/config.json")]  # cut bases and fine-tuned models
    texts = [fingerprint(part.values()) for part in (eval_set.queries, eval_set.corpus)]
    present = set(product(map(model_fingerprint, folders), texts))
    lost, folder = 0, profile.output_dir / "vectors"
    for path in sorted(folder.glob("*")):
        if path.suffix not in (".npy", ".tmp"):
            continue
        # What is being written is named after the vectors: `.NAME.npy.DIGITS.tmp`.
        manifest = manifest_of(path if path.suffix == ".npy" else path.with_name(path.name[1:].rsplit(".", 2)[0]))
        made_from = (read_manifest(manifest) or {}).get("made_from", {}) if path.suffix == ".npy" else {}
        if (made_from.get("model"), made_from.get("texts")) not in present and not busy(manifest):
            print(f"{path.stat().st_size:14,}  {path.name}")
            lost += 1
            if remove:
                path.unlink()
                manifest_of(path).unlink(missing_ok=True)
    print(f"{lost} files of vectors in {folder} {'removed' if remove else 'can go; add --yes to remove them'}.")
