"""onnxruntime's errors in a form for people."""

import re

_NOISE = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : "  # the status code, twice over
    r"|Load model from .*? failed:|Exception during initialization: "
    r"|\b[a-z_]+\.cc:\d+ \w+ "  # a place in its C++ source, in either form
    r"|/onnxruntime_src/\S+:\d+ [^()]*\([^()]*\)(?: const)?(?: \[with [^\]]*\])? ?"
)


def explained(error: Exception) -> str:
    """What went wrong, on one line, without status prefixes and C++ signatures."""
    return " ".join(_NOISE.sub("", str(error)).split())
