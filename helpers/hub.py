"""The one door to the Hugging Face Hub, with one sentence for when it is shut."""

from collections.abc import Callable
from typing import TypeVar

from helpers.errors import UserError

T = TypeVar("T")


def from_hub(name: str, load: Callable[[], T]) -> T:
    """Return `load()`, which reads `name` from the Hub or from its cache on this disk.

    Raises:
        UserError: the Hub is out of reach, or has no such model or data set.
    """
    import huggingface_hub

    huggingface_hub.utils.logging.set_verbosity_error()  # its retries would bury the sentence below
    try:
        return load()
    except OSError as error:  # no connection, no such repository, no access, no such revision
        raise UserError(
            f"{name} could not be had from the Hugging Face Hub ({type(error).__name__}); "
            "check its name and your connection, or run PROFILE=demo, which needs no hub."
        ) from error
