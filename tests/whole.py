"""All tests: the end-to-end ones, which wait most of the time, and beside them the others with what is left of it.

    python -m tests.whole

The others have the lowest priority, so that they take no processor from a cluster under traffic. Their output comes
when both are over.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cluster.progress import step

END_TO_END = "tests/e2e"


def main() -> int:
    """Run them; 0 when all passed, else what pytest ended with."""
    pytest = [sys.executable, "-m", "pytest"]
    with tempfile.TemporaryDirectory(prefix="serinus-tests-") as folder:
        output = Path(folder) / "output"
        with output.open("w") as file:
            lowest = ["nice", "-n", "19"] if shutil.which("nice") else []
            others = subprocess.Popen([*lowest, *pytest, f"--ignore={END_TO_END}"], stdout=file, stderr=file)
            try:
                end_to_end = subprocess.run([*pytest, END_TO_END], check=False).returncode
                with step("the tests that need no cluster"):
                    status = others.wait()
            except BaseException:
                others.terminate()
                raise
        print(output.read_text())
    print(f"{END_TO_END}: {_outcome(end_to_end)}; all others: {_outcome(status)}")
    return end_to_end or status


def _outcome(status: int) -> str:
    return "passed" if status == 0 else f"failed (pytest's status {status})"


if __name__ == "__main__":
    sys.exit(main())
