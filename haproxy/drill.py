#!/usr/bin/env python3
"""How long a partner waits when the leader changes: haproxy.cfg as it is, with two stand-in nodes and one partner.

    haproxy/drill.py                     through a gateway (haproxy-probe.cfg) beside each node, as in production
    haproxy/drill.py CHECK_BY=connect    with other settings of haproxy.cfg

Needs Linux (127.0.0.2 and so on are this machine), HAProxy and Python 3.8, no rights. The next node is ready at once, so what is
measured is HAProxy's part alone. Ends with 1 if a change took longer than a second.
"""
import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT_MS = 1000


async def stand_in(name, api_port, host, port):
    """A node: answers /ready/leader, echoes lines with its name while it leads. Told by lines on its standard input."""
    leading, listener, peers = False, None, set()

    async def api(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        status = "403 Forbidden" if "\r\nhost: localhost\r\n" not in head else (
            "404 Not Found" if head.split()[1] != "/ready/leader" else "200 OK" if leading else "503 Service Unavailable")
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        writer.close()

    async def inbound(reader, writer):
        peers.add(writer)
        try:
            while line := await reader.readline():
                writer.write(name.encode() + b" " + line)
        except ConnectionError:
            pass  # HAProxy ended it
        peers.discard(writer)
        writer.close()

    await asyncio.start_server(api, "127.0.0.1", api_port)
    loop, orders = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print("up", flush=True)
    while order := (await orders.readline()).decode().strip():
        if order == "lead":
            listener, leading = await asyncio.start_server(inbound, host, port), True
        else:
            leading = False
            listener.close()
            if order == "close":  # else `silent`: its connections stay open, and only HAProxy can end them
                for writer in list(peers):
                    writer.close()
        print(order, flush=True)


class Node:
    def __init__(self, stack, name, host, ports):
        self.stack, self.name, self.host, self.ports = stack, name, host, ports
        self.start()

    def start(self):
        arguments = [sys.executable, __file__, "stand-in", self.name, str(self.ports[self.name]), self.host, str(self.ports["inbound"])]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.stack.callback(self.kill)
        self.process.stdout.readline()

    def tell(self, order):
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def kill(self):
        self.process.kill()
        self.process.wait()


class Partner:
    """One connection, one message at a time; connects again 5 ms after any failure."""

    def __init__(self, port):
        self.port, self.socket = port, None

    def send(self):
        try:
            if self.socket is None:
                self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=5)
                self.answers = self.socket.makefile("rb")
            self.socket.sendall(b"x\n")
            answer = self.answers.readline()
            if not answer:
                raise OSError("closed")
            return answer.split()[0].decode()
        except OSError:
            if self.socket:
                self.socket.close()
                self.socket = None
            time.sleep(0.005)
            return None

    def wait_for(self, name, seconds=6.0):
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            if self.send() == name:
                return (time.monotonic() - begun) * 1000
        return float("inf")


def free_ports(names):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        return {name: taken.getsockname()[1] for name, taken in zip(names, sockets)}


def haproxy(stack, file, log, **settings):
    process = subprocess.Popen(["haproxy", "-db", "-f", os.path.join(HERE, file)],
                               env={**os.environ, **settings}, stdout=log, stderr=log)
    stack.callback(process.wait)
    stack.callback(process.terminate)


def settled(page, seconds=5.0):
    """What HAProxy's page says of each node, once it knows: at its start each one counts as up until it was asked."""
    begun = time.monotonic()
    while True:
        with urllib.request.urlopen(page) as answer:
            rows = [line.split(",") for line in answer.read().decode().splitlines()]
        states = {row[1]: row[17] for row in rows if row[0] == "leader" and row[1].startswith("node")}
        if sorted(states.values()) == ["DOWN", "UP"]:
            return states
        assert time.monotonic() - begun < seconds, f"one node up, one down; not {states}"
        time.sleep(0.02)


def drill(stack, settings):
    names = ["a", "b", "inbound", "probe", "feed", "other", "status"]
    ports = free_ports(names)
    p = {name: str(port) for name, port in ports.items()}
    log = stack.enter_context(tempfile.TemporaryFile())
    leader, standby = Node(stack, "a", "127.0.0.2", ports), Node(stack, "b", "127.0.0.3", ports)
    leader.tell("lead")
    for node in (leader, standby):
        haproxy(stack, "haproxy-probe.cfg", log, PROBE_ADDRESS=node.host, PROBE_PORT=p["probe"], API_PORT=p[node.name])
    haproxy(stack, "haproxy.cfg", log, **{
        "LISTEN_ADDRESS": "127.0.0.1", "STATUS_PORT": p["status"], "ADT_PORT": p["feed"], "ORU_PORT": p["other"],
        "ADT_NODE_PORT": p["inbound"], "ORU_NODE_PORT": p["inbound"], "NODE_A_HOST": "127.0.0.2", "NODE_B_HOST": "127.0.0.3",
        "NODE_A_CHECK_PORT": p["probe"], "NODE_B_CHECK_PORT": p["probe"], **settings})
    partner = Partner(ports["feed"])
    assert partner.wait_for("a") < LIMIT_MS * 6, "HAProxy does not lead to node a"
    print("HAProxy says:", settled(f"http://127.0.0.1:{ports['status']}/;csv"))

    worst = 0.0
    ends = {
        "closes its ports": lambda node: node.tell("close"),
        "stops saying that it leads": lambda node: node.tell("silent"),
        "is killed": Node.kill,
        "is stopped (SIGSTOP)": lambda node: node.process.send_signal(signal.SIGSTOP),
    }
    for what, end in ends.items():
        waits = []
        for turn in range(10):
            time.sleep(0.5 + 0.029 * turn)  # at another moment between two checks each time
            partner.wait_for(leader.name)
            end(leader)
            standby.tell("lead")
            waits.append(partner.wait_for(standby.name))
            if end in (ends["is killed"], ends["is stopped (SIGSTOP)"]):
                leader.kill()
                leader.start()
            leader, standby = standby, leader
        print(f"the leader {what:28} ms: least {min(waits):4.0f}  median {statistics.median(waits):4.0f}  most {max(waits):4.0f}")
        worst = max(worst, *waits)
    return 0 if worst <= LIMIT_MS else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["stand-in"]:
        asyncio.run(stand_in(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])))
    else:
        with ExitStack() as everything:
            sys.exit(drill(everything, dict(setting.split("=", 1) for setting in sys.argv[1:])))
