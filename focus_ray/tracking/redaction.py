"""Removes passwords and tokens from addresses and error messages."""

import os
import re
from collections.abc import Mapping

_USER_INFO = re.compile(r"(?<=://)[^/\s@'\"]+@")
_QUERY_SECRET = re.compile(r"([?&][^=&\s]*(?:token|key|secret|password|signature)[^=&\s]*=)[^&\s'\")]+", re.IGNORECASE)
_SECRET_NAME = re.compile(r"SECRET|PASSWORD|TOKEN|CREDENTIAL|API_?KEY|ACCESS_?KEY", re.IGNORECASE)
_MIN_SECRET_LENGTH = 6  # characters; shorter values such as "1" or "true" occur in ordinary text


def redact_secrets(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Remove user and password of addresses, secret query parameters and the values of secret variables from a text.

    Args:
        text: the text.
        environment: variables to search for secrets by their names; None: those of this process.
    """
    text = _QUERY_SECRET.sub(r"\1***", _USER_INFO.sub("", text))
    for name, value in (os.environ if environment is None else environment).items():
        if _SECRET_NAME.search(name) and len(value) >= _MIN_SECRET_LENGTH:
            text = text.replace(value, "***")
    return text
