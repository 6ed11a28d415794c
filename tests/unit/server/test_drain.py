"""The end of a server under open-loop load: whoever was accepted is answered."""

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.unit.server import models
from tests.unit.server.serving import Serving, serving, tensor

BODY = json.dumps({"inputs": [tensor("x", "FP32", [1, 4], [1, 2, 3, 4])]}).encode()
REQUEST = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


class OpenLoop:
    """Sends a request every few milliseconds, whatever becomes of the ones before, until told to stop.

    Like the clients of a Service it keeps connections and opens new ones when told to close.
    """

    def __init__(self, server: Serving, interval: float) -> None:
        self._port = server.port
        self._interval = interval
        self._idle: list[socket.socket] = []
        self._stop = threading.Event()
        self.outcomes: list[str] = []
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def stop(self) -> None:
        """No new requests; wait for those that are out."""
        self._stop.set()
        self._thread.join()

    def _send(self) -> None:
        senders = []
        while not self._stop.wait(self._interval):
            sender = threading.Thread(target=self._ask)
            sender.start()
            senders.append(sender)
        for sender in senders:
            sender.join()
        for connection in self._idle:
            connection.close()

    def _ask(self) -> None:
        try:
            connection = self._idle.pop() if self._idle else socket.create_connection(("127.0.0.1", self._port))
            connection.settimeout(10)
            connection.sendall(REQUEST)
            reply = b""
            while not reply.endswith(b"]}]}"):
                received = connection.recv(65536)
                if not received:
                    raise ConnectionError("closed before a reply")
                reply += received
            self.outcomes.append(reply[9:12].decode())
            if b"Connection: close" in reply:
                connection.close()
            else:
                self._idle.append(connection)
        except OSError as error:
            self.outcomes.append(repr(error))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_drain_loses_nothing(tmp_path: Path, workers: str) -> None:
    with serving(models.save(models.mlp(), tmp_path), "--drain-delay", "1s", "--workers", workers) as server:
        load = OpenLoop(server, 0.004)
        time.sleep(0.5)
        server.terminate()
        server.wait_for("draining")
        assert server.get("/v2/health/ready") == (503, {"ready": False, "error": "the server is shutting down"})
        assert server.get("/v2/health/live")[0] == 200
        time.sleep(0.5)  # for so long the endpoints have not heard of it
        load.stop()
        assert server.exit_code(5) == 0
        drained = [line["connections_cut_off"] for line in server.log if line["message"] == "drained"]
        assert drained == [0] * int(workers)
    assert len(load.outcomes) > 100
    assert set(load.outcomes) == {"200"}


def test_what_is_in_work_is_finished_after_accepting_ended(tmp_path: Path) -> None:
    with serving(models.save(models.slow(100_000), tmp_path), environment={"SERINUS_DRAIN_DELAY": "0s"}) as server:
        statuses: list[int] = []
        body = {"inputs": [tensor("x", "FP32", [1], [1])]}
        clients = [threading.Thread(target=lambda: statuses.append(server.infer(body)[0])) for _ in range(4)]
        for client in clients:
            client.start()
        deadline = time.monotonic() + 5
        while server.metric("serinus_in_flight_requests") < 4 and time.monotonic() < deadline:
            time.sleep(0.005)
        server.terminate()
        for client in clients:
            client.join()
        assert statuses == [200] * 4
        assert server.exit_code(5) == 0
