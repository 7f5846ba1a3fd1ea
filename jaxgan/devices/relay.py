"""A relay in front of JAX's service, through which the processes of one run know each other.

JAX's client aborts its process with a stack trace as soon as its connection to the service breaks.
JAX's service needs minutes to notice that a process is gone. So every process contains a relay, and
talks to the service through it. Each connection of a relay belongs to one process. If a connection
breaks, that process is lost. The relay then calls its owner, while JAX sees an open connection and
waits.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

_RETRY_SECONDS = 0.5
# A machine that disappears closes no connection: send probes, and give up after 30 seconds.
_OPTIONS = {
    "TCP_KEEPIDLE": 15,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 30_000,  # milliseconds; no probes are sent while an answer is due
}


class Relay:
    """Forward connections at port `port` (0: a free one) to `target`, (host, port).

    Connections that are open when `arm` is called belong to processes. When the first of them
    breaks, the relay calls `on_loss`. After that, it closes none of them.
    """

    def __init__(self, host: str, port: int, target: tuple[str, int], on_loss: Callable[[], None]):
        self._server = _listen(host, port)
        self._target, self._on_loss = target, on_loss
        self._lock = threading.Lock()
        self._armed = self._lost = False
        self._open: list[socket.socket] = []
        self._ended, self._num_ended = threading.Condition(), 0
        self._start(self._accept)

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._server.getsockname()[1])

    def arm(self) -> None:
        """From now on a broken connection is a loss."""
        self._armed = True

    def disarm(self) -> None:
        """From now on connections may end."""
        self._armed = False

    def wait_for_end(self, seconds: float) -> None:
        """Wait at most `seconds` until the processes' connections have ended."""
        with self._ended:
            self._ended.wait_for(lambda: self._num_ended >= len(self._open), seconds)

    def close(self) -> None:
        """Close all connections, and stop listening."""
        self.disarm()
        for end in (self._server, *self._open):
            _close(end)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, daemon=True, name="jaxgan-relay").start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._server.accept()
                self._start(self._connect, near)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target, timeout=60)
            for end in (near, far):
                _set_options(end)
        except OSError:
            time.sleep(_RETRY_SECONDS)  # JAX retries at once: process 0 may not have started yet
            near.close()
            return
        is_process = not self._armed  # a later connection that ends is not a lost process
        if is_process:
            self._open += [near, far]  # a socket without a reference would close itself
        self._start(self._pump, near, far, is_process)
        self._start(self._pump, far, near, is_process)

    def _pump(self, source: socket.socket, sink: socket.socket, is_process: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            pass  # a broken connection is handled like any other end
        with self._ended:
            self._num_ended += is_process
            self._ended.notify_all()
        with self._lock:
            first = is_process and self._armed and not self._lost
            self._lost |= first
        if first:
            self._on_loss()
        if not (is_process and self._lost):
            _close(source)
            _close(sink)


def find_free_port() -> int:
    """Return a port of this machine on which no program listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _listen(host: str, port: int) -> socket.socket:
    if host == "" and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server((host, port))


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other direction's thread may have closed it
        end.shutdown(socket.SHUT_RDWR)  # wakes that thread; `close` alone would not
    end.close()


def _set_options(end: socket.socket) -> None:
    end.settimeout(None)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS.items():
        if hasattr(socket, name):  # not every system has these names
            end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
