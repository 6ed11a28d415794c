"""obstore's errors in a form for people: without what differs from try to try, so that equal failures read equal."""

import re

_STATUS = re.compile(r"status code: (\d{3})( [A-Za-z][A-Za-z -]*)?")
_CODE = re.compile(r"<Code>([^<]+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]+?)\s*(?:RequestId:[^<]*)?</Message>")
_ENDPOINT = re.compile(r"Error performing [A-Z]+ (https?://[^/\s]+)")
_CAUSE = re.compile(r'(?:message|error): "([^"]+)"')
_TIMING = re.compile(r" in [\d.]+(?:ns|µs|ms|s)\b")


def status_of(error: Exception) -> int | None:
    """The HTTP status that an error reports, if the server answered at all."""
    match = _STATUS.search(str(error))
    return int(match[1]) if match else None


def explained(error: Exception) -> str:
    """One line: what the server said, or why it could not be reached."""
    text = str(error)
    summary, _, internals = text.partition("\n\nDebug source:")
    status = _STATUS.search(text)
    if status:
        code, message = _CODE.search(text), _MESSAGE.search(text)
        said = ", ".join(match[1] for match in (code, message) if match)
        return f"HTTP status {status[1]}{status[2] or ''}" + (f" ({said})" if said else "")
    endpoint, cause = _ENDPOINT.search(text), _CAUSE.findall(internals)
    if endpoint and cause:
        return f"cannot reach {endpoint[1]}: {cause[-1]}"
    return _TIMING.sub("", " ".join(summary.split()))[:500]
