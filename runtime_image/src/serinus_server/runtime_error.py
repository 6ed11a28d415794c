"""onnxruntime's errors in a form for people."""

import re

_NOISE = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : "  # the status code, twice over
    r"|/onnxruntime_src/\S+:\d+ [^()]*\([^()]*\)(?: const)?(?: \[with [^\]]*\])? ?"  # a place in its C++ source
)


def explained(error: Exception) -> str:
    """What went wrong, on one line, without status prefixes and C++ signatures."""
    return " ".join(_NOISE.sub("", str(error)).split())
