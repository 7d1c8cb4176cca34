"""Hosts of a slow network, as network namespaces on a bridge, where the system allows it."""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import pytest

NETWORK = "10.213.0"
BRIDGE = "shoal-bridge"


def call(*words):
    """Run a command, which must not fail."""
    subprocess.run(words, check=True, capture_output=True, text=True)


class Host:
    """A namespace with one interface, whose sending is limited to some bits a second."""

    def __init__(self, number, rate):
        self.name, self.link = f"shoal-{number}", f"shoal-veth{number}"
        self.address = f"{NETWORK}.{number + 2}"
        call("ip", "link", "add", self.link, "type", "veth", "peer", "eth0", "netns", self.name)
        call("ip", "link", "set", self.link, "master", BRIDGE, "up")
        call("ip", "-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            call("ip", "-n", self.name, "link", "set", device, "up")
        limit = ("tbf", "rate", rate, "burst", "32kbit", "latency", "400ms")
        call("ip", "netns", "exec", self.name, "tc", "qdisc", "add", "dev", "eth0", "root", *limit)

    def set_link(self, state):
        """Plug the cable in ("up") or out ("down")."""
        call("ip", "link", "set", self.link, state)

    def start(self, *words):
        """A process of Python's on this host."""
        command = ["ip", "netns", "exec", self.name, sys.executable, *words]
        return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})


@contextmanager
def network(count, rate):
    """The address of this host and so many others; the test is skipped where that can't be."""
    if (
        not hasattr(os, "geteuid")
        or os.geteuid()
        or not (shutil.which("ip") and shutil.which("tc"))
    ):
        pytest.skip("network namespaces need root, ip and tc")
    with ExitStack() as undo:
        try:
            call("ip", "link", "add", BRIDGE, "type", "bridge")
            undo.callback(call, "ip", "link", "del", BRIDGE)
            call("ip", "addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
            call("ip", "link", "set", BRIDGE, "up")
            hosts = []
            for number in range(count):
                call("ip", "netns", "add", f"shoal-{number}")
                undo.callback(call, "ip", "netns", "del", f"shoal-{number}")
                hosts.append(Host(number, rate))
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this system gives no network namespaces: {error.stderr.strip()}")
        yield f"{NETWORK}.1", hosts
