"""Whether a host of weights can be reached, answered within seconds and never by hanging."""

import os
import threading
import urllib.error
import urllib.request

ANSWER_SECONDS = 5.0
"""How long a host may take to answer before it counts as out of reach."""


def hub_answers(model: str) -> bool:
    """Whether the Hugging Face hub may be asked and answers in time.

    Args:
        model: A hub id. It is this model's page that is asked for: a proxy may answer for the host and let everything
            behind it wait, which the hub's own client does not give up on.
    """
    from urllib.parse import quote

    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and answers(f"{constants.ENDPOINT}/api/models/{quote(model)}")


def told_offline() -> bool:
    """Whether the user said, by `HF_HUB_OFFLINE=1`, that nothing is to be fetched."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def answers(url: str, seconds: float | None = None) -> bool:
    """Whether a web host answers within `seconds` (`ANSWER_SECONDS`), name look-up included; any HTTP status counts."""
    if told_offline():
        return False
    patience = ANSWER_SECONDS if seconds is None else seconds
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=patience).close()
        except urllib.error.HTTPError:
            answered.set()
        except (OSError, ValueError):
            return
        else:
            answered.set()

    # A daemon thread, because a name look-up obeys no timeout.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience)
    return answered.is_set()
