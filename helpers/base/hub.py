"""The one door to the Hugging Face Hub, with one sentence for when it is shut."""

from pathlib import Path

from httpx2 import HTTPError  # what huggingface_hub speaks through; not all of its errors are wrapped
from huggingface_hub import constants, errors, snapshot_download
from huggingface_hub.utils import logging

from helpers.base.errors import UserError


def fetch(name: str, *patterns: str, revision: str = "", kind: str = "model") -> Path:
    """Return the folder with those files of a Hub repository whose paths match a pattern.

    It is named by its commit. What is on this disk is not fetched again, a cut stream is resumed; offline, or with
    HF_HUB_OFFLINE=1, all must be there. `revision` is empty for the newest commit; `kind` is `model` or `dataset`.
    Raises UserError: no such repository, no access to it, a file that did not come whole, or the Hub is out of reach.
    """
    logging.set_verbosity_error()  # its retries would bury the sentence below
    try:
        return Path(snapshot_download(name, revision=revision or None, repo_type=kind, allow_patterns=list(patterns)))
    except (OSError, HTTPError, errors.HFValidationError) as error:
        # Without an answer that it likes, the library looks for the files on this disk; the answer is then the cause.
        cause = error.__cause__ or error if isinstance(error, errors.LocalEntryNotFoundError) else error
        raise UserError(
            f"{name} could not be had from the Hugging Face Hub: {_reason(cause, name)}, "
            "or run PROFILE=demo, which needs no hub."
        ) from error


def _reason(error: BaseException, name: str) -> str:
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if isinstance(error, errors.GatedRepoError):
        return f"it is gated; ask for access at {constants.ENDPOINT}/{name}, then hf auth login"
    if isinstance(error, errors.RevisionNotFoundError):
        return "it has no such revision; check the _REVISION of it in the profile"
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403):
        return f"status {status}, so it is private or not there; check the name, or hf auth login if it is yours"
    if status == 429:
        return "too many requests; wait some minutes"
    if status >= 500:
        return f"its server failed with status {status}; try again later"
    if isinstance(error, OSError) and error.errno:
        return f"{error.strerror} ({error.filename}); free some space or check the folder"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set and not all of it is on this disk; unset it"
    if isinstance(error, ValueError):
        return "no repository can have this name; give the path of a folder or owner/name"
    return f"no whole answer ({type(error).__name__}); check the name and your connection"
