"""What went wrong, in a person's words: libraries and Python tell it with addresses as tuples, and quote commands."""

from __future__ import annotations

import os
import re
import ssl

from readmodel.shown import printable

_QUOTED = re.compile(r".* of pipeline caused error: \(['\"](.*?)['\"],?\)", re.DOTALL)
"""redis-py quotes the command before it, and with it what an event says: that belongs into no log."""
_REFUSED = re.compile(r"(?:\[Errno (\d+)\]|Error (\d+) connecting to \S+) Connect call failed \([^()]*\)")
_NUMBERED = re.compile(r"\[Errno -?\d+\] |^Error (?:-?\d+|UNKNOWN) connecting to \S+ ")
_READING = re.compile(r"^Error while (?:reading|writing) .*?\((\d+), '[^']*'\)")
_SCRIPT = re.compile(r"\.? script: [0-9a-f]{40}, on @\S+?:\d+\.?$")
_MISMATCHES = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_OTHER_NAME = "the URL must name the server as its certificate does"
_UNKNOWN = "{} in the URL must name the file of its authority"
_SEVERAL = "Multiple exceptions: "


def distrust(exc: BaseException, parameter: str) -> str | None:
    """Why a server's certificate cannot be trusted, and what to do; None where that is not what went wrong.

    `parameter` is what names the file of an authority in the store's URL.
    """
    seen: BaseException | None = exc
    for _ in range(8):  # libraries wrap it a few times
        if isinstance(seen, ssl.SSLCertVerificationError):
            advice = _OTHER_NAME if seen.verify_code in _MISMATCHES else _UNKNOWN.format(parameter)
            return f"shows a certificate that cannot be trusted ({seen.verify_message.rstrip('.')}): {advice}"
        seen = None if seen is None else seen.__cause__ or seen.__context__
    return None


def cause(exc: BaseException) -> str:
    """An exception's reason in one line, without a full stop, and printable: a server may say anything."""
    told = (str(exc) or type(exc).__name__).splitlines()[0]
    quoted = _QUOTED.fullmatch(told)
    text = quoted[1] if quoted else told
    text = _REFUSED.sub(lambda found: os.strerror(int(found[1] or found[2])), text)
    text = _READING.sub(lambda found: os.strerror(int(found[1])), text)
    text = _SCRIPT.sub("", _NUMBERED.sub("", text))
    if text.startswith(_SEVERAL):  # a name with several addresses: mostly the same of each
        text = ", ".join(dict.fromkeys(text.removeprefix(_SEVERAL).split(", ")))
    return printable(text.rstrip("."))
