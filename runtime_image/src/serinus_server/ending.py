"""From the way a process ends to its exit status, its log and its termination message."""

from collections.abc import Callable

from serinus_server.failure import FatalError, WorkerEndedError, write_termination_message
from serinus_server.log import JsonLog


def run_to_end(run: Callable[[], None], log: JsonLog) -> int:
    """The exit status of the process after this run; the log is closed."""
    try:
        run()
        status = 0
    except FatalError as failure:
        log.event(failure.line, level="error", reason=failure.reason.wire_name)
        write_termination_message(failure.line)
        status = failure.exit_code
    except WorkerEndedError as failure:
        log.event(str(failure), level="error")
        if not failure.has_told:
            write_termination_message(str(failure))
        status = failure.exit_code
    except OSError as error:
        log.event(str(error), level="error")
        status = 1
    except KeyboardInterrupt:
        status = 130
    log.close()
    return status
