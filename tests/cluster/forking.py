"""Starts operators in no time: a process that has imported everything forks one for each line that it reads.

`python -m tests.cluster.forking CONFIG PORT LOG`; for each line on standard input it prints the process id of a new
operator, and it ends with its input.
"""

import os
import signal
import sys
import traceback

from serinus.cli import main


def fork_operators(config: str, port: str, log: str) -> None:
    """Fork until the input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _operate(config, port, log)
        print(pid, flush=True)


def _operate(config: str, port: str, log: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with open(log, "a") as file:  # noqa: PTH123 - for its descriptor
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.close(0)
    sys.argv = ["serinus", "run", "--config", config, "--port", port]
    try:
        status = main()
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        # Not by way of what is still to do of the process that it was forked from.
        os._exit(status)


if __name__ == "__main__":
    fork_operators(*sys.argv[1:])
