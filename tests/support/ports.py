"""A block of ports for each test process: those that it draws itself are no other's, while blocks are left."""

import atexit
import socket

from readside.demo import processes

BLOCK = 1_000


def claim() -> None:
    """Have `free_port` draw from a block that no other test process of this machine draws from, where one is left.

    The claim is a socket with a name and no file: it ends with the process, however that ends.
    """
    for first in range(processes.PORTS.start, processes.PORTS.stop, BLOCK):
        held = socket.socket(socket.AF_UNIX)
        try:
            held.bind(f"\0readside-tests-ports-{first}")
        except OSError:
            held.close()
            continue
        atexit.register(held.close)
        processes.PORTS = range(first, first + BLOCK)
        return
