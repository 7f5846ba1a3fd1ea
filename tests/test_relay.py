"""The relay: what goes through it, and what a connection that breaks means, and when."""

import socket
import threading
import time

import pytest

from jaxgan.devices.relay import Relay, find_free_port

SECONDS = 60.0


@pytest.fixture
def service():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        yield server


def connect(service, on_loss=lambda: None):
    """Return a relay and the two ends of a connection through it."""
    relay = Relay("127.0.0.1", 0, service.getsockname(), on_loss)
    near = socket.create_connection(("127.0.0.1", relay.port), timeout=SECONDS)
    far, _ = service.accept()
    far.settimeout(SECONDS)
    near.sendall(b"hello")
    assert far.recv(100) == b"hello"
    far.sendall(b"welcome")
    assert near.recv(100) == b"welcome"
    return relay, near, far


@pytest.mark.parametrize("ends", ["near", "far"])
def test_before_it_counts_a_closed_connection_is_closed_on_both_sides(service, ends):
    relay, near, far = connect(service, on_loss=pytest.fail)
    relay.arm()
    relay.disarm()
    first, second = (near, far) if ends == "near" else (far, near)
    first.close()
    assert second.recv(100) == b""
    second.close()
    relay.close()


@pytest.mark.parametrize("ends", ["near", "far"])
def test_once_armed_it_is_a_loss_of_which_the_other_side_sees_nothing(service, ends):
    losses, lost = [], threading.Event()

    def note():
        losses.append(1)
        lost.set()

    relay, near, far = connect(service, note)
    relay.arm()
    first, second = (near, far) if ends == "near" else (far, near)
    first.close()
    assert lost.wait(SECONDS)
    second.settimeout(0.2)
    with pytest.raises(TimeoutError):
        second.recv(100)
    second.close()
    relay.close()
    assert losses == [1]


def test_one_can_wait_for_the_others_to_end(service):
    relay, near, far = connect(service, on_loss=pytest.fail)
    relay.arm()
    relay.disarm()
    began = time.monotonic()
    relay.wait_for_end(0.3)
    assert time.monotonic() - began >= 0.3  # it is still there
    threading.Timer(0.2, near.close).start()
    relay.wait_for_end(SECONDS)
    assert time.monotonic() - began < SECONDS
    far.settimeout(SECONDS)
    assert far.recv(100) == b""
    for end in (relay, far):
        end.close()


def test_a_stranger_who_comes_and_goes_is_no_loss(service):
    relay, near, far = connect(service, on_loss=pytest.fail)
    relay.arm()
    with socket.create_connection(("127.0.0.1", relay.port), timeout=SECONDS):
        stranger, _ = service.accept()
    stranger.settimeout(SECONDS)
    assert stranger.recv(100) == b""
    near.sendall(b"still there")
    assert far.recv(100) == b"still there"
    for end in (relay, near, far, stranger):
        end.close()


def test_where_nothing_listens_a_connection_ends_and_may_be_tried_again():
    relay = Relay("127.0.0.1", 0, ("127.0.0.1", find_free_port()), pytest.fail)
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", relay.port), timeout=SECONDS) as near:
            assert near.recv(100) == b""
    relay.close()
