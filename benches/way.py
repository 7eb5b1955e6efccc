#!/usr/bin/env python3
"""Long ways between programs on one machine: what one side sends reaches the other half a round trip later, and
no faster than both links carry.

  way.py RTT_MS NAME:UP:DOWN[,…] PORT:FROM:TO:TARGET[,…]

The first list says what each node sends and receives at most, in Mbit/s, for all its connections together; 0 is no
limit. The second says on which ports of loopback it listens, whose connections come in there, to which node they
lead, and that node's own port. It prints `ready`, and ends when it is killed.

A new connection costs what it would: `connect` succeeds at once, but what is said on it sets out after a round
trip. What waits for a link waits at the sender,
who is read from no further once 50 ms are due; connections take turns there, 16 KiB each. So nothing is lost, and
nothing starts slowly. 16 MiB of one connection may be on the way, as a TCP window of that size would let them.
"""
import collections
import heapq
import itertools
import selectors
import socket
import sys
import time

BLOCK = 16 << 10
QUEUE = 0.05                # seconds of a link's time that may be due before its senders wait
RESUME = 0.04               # seconds still due when they go on; less often than at every block
WINDOW = 16 << 20
HIDDEN = 64 << 10           # what the kernel may take from a sender before we have read it
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

now = time.monotonic


class Link:
    """One direction of a node's line: when the last byte that was let onto it has passed."""

    def __init__(self, mbit):
        self.second = mbit * 1e6 / 8 or float("inf")
        self.busy_until = 0.0

    def pass_by(self, size, earliest):
        """When the last of so many bytes has passed, of which the last is there at `earliest`."""
        self.busy_until = max(self.busy_until + size / self.second, earliest)
        return self.busy_until

    def resumes(self, at):
        """When senders may go on; None is now."""
        return self.busy_until - RESUME if self.busy_until - at > QUEUE else None


class Loop:
    """Calls what is due, and whoever a socket is ready for."""

    def __init__(self):
        self.selector, self.due, self.order = selectors.DefaultSelector(), [], itertools.count()

    def at(self, when, what):
        heapq.heappush(self.due, (when, next(self.order), what))

    def run(self):
        while True:
            while self.due and self.due[0][0] <= now():
                heapq.heappop(self.due)[2]()
            pause = max(0.0, self.due[0][0] - now()) if self.due else None
            for key, events in self.selector.select(pause):
                key.data(events)


class End:
    """A socket: one direction reads from it, another writes to it."""

    def __init__(self, loop, stream):
        self.loop, self.stream, self.events = loop, stream, 0
        self.reader = self.writer = None
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def want(self, event, on):
        wanted = self.events | event if on else self.events & ~event
        if wanted != self.events and self.stream.fileno() >= 0:
            if not wanted:
                self.loop.selector.unregister(self.stream)
            elif not self.events:
                self.loop.selector.register(self.stream, wanted, self.ready)
            else:
                self.loop.selector.modify(self.stream, wanted, self.ready)
            self.events = wanted

    def ready(self, events):
        if events & WRITE and self.events & WRITE:
            self.writer.write()
        if events & READ and self.events & READ:
            self.reader.read()

    def close(self):
        self.want(READ | WRITE, False)
        self.stream.close()


class Direction:
    """Bytes from one end to the other; `opened` is when the first may set out."""

    def __init__(self, loop, source, sink, up, down, half, opened):
        self.loop, self.source, self.sink, self.up, self.down, self.half = loop, source, sink, up, down, half
        self.on_the_way, self.held, self.is_over, self.is_waiting = collections.deque(), 0, False, False
        source.reader, sink.writer = self, self
        loop.at(opened, lambda: source.want(READ, True))

    def read(self):
        at = now()
        resumes = max(self.up.resumes(at) or 0, self.down.resumes(at) or 0)
        if resumes:
            self.source.want(READ, False)
            return self.loop.at(resumes, self.read_on)
        if self.held > WINDOW:
            self.source.want(READ, False)
            self.is_waiting = True
            return
        try:
            piece = self.source.stream.recv(BLOCK)
        except BlockingIOError:
            return
        except OSError:
            return self.break_off()
        arrives = self.down.pass_by(len(piece), self.up.pass_by(len(piece), at)) + self.half
        if not piece:
            self.source.want(READ, False)
            self.is_over = True
        self.on_the_way.append((arrives, memoryview(piece)))
        self.held += len(piece)
        if len(self.on_the_way) == 1:
            self.loop.at(arrives, self.write)

    def read_on(self):
        if not self.is_over:
            self.source.want(READ, True)

    def write(self):
        at = now()
        while self.on_the_way:
            arrives, piece = self.on_the_way[0]
            if arrives > at:
                self.block(False)
                return self.loop.at(arrives, self.write)
            try:
                if not piece:
                    self.on_the_way.popleft()
                    self.block(False)
                    return self.end()
                sent = self.sink.stream.send(piece)
            except BlockingIOError:
                return self.block(True)
            except OSError:
                return self.break_off()
            self.held -= sent
            if sent < len(piece):
                self.on_the_way[0] = (0.0, piece[sent:])
                return self.block(True)
            self.on_the_way.popleft()
            if self.is_waiting and self.held <= WINDOW:
                self.is_waiting = False
                self.read_on()
        self.block(False)

    def block(self, is_blocked):
        """Whether to wait until the sink's kernel takes more."""
        self.sink.want(WRITE, is_blocked)

    def end(self):
        try:
            self.sink.stream.shutdown(socket.SHUT_WR)
        except OSError:
            return self.break_off()
        back = self.source.writer
        if back.is_over and not back.on_the_way:
            self.break_off()

    def break_off(self):
        for direction in (self, self.source.writer):
            direction.is_over = True
            direction.on_the_way.clear()
        self.source.close()
        self.sink.close()


class Way:
    """Listens for one node's connections to another."""

    def __init__(self, loop, rtt, port, opener, target, target_port):
        self.loop, self.rtt, self.opener, self.target, self.target_port = loop, rtt, opener, target, target_port
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HIDDEN)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(256)
        loop.selector.register(self.listener, READ, self.accept)

    def accept(self, _):
        stream, _ = self.listener.accept()
        self.loop.at(now() + self.rtt, lambda: self.dial(stream))

    def dial(self, stream):
        target = socket.socket()
        target.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HIDDEN)
        try:
            target.connect(("127.0.0.1", self.target_port))
        except OSError:
            target.close()
            stream.close()
            return
        near, far = End(self.loop, stream), End(self.loop, target)
        # The target sees the connection half a round trip too soon, but what it says first waits for that.
        half, at = self.rtt / 2, now()
        Direction(self.loop, near, far, self.opener[0], self.target[1], half, at)
        Direction(self.loop, far, near, self.target[0], self.opener[1], half, at + half)


def main(rtt_ms, nodes, ways):
    loop, links = Loop(), {}
    for node in nodes.split(","):
        name, up, down = node.split(":")
        links[name] = Link(float(up)), Link(float(down))
    for way in ways.split(","):
        port, opener, target, target_port = way.split(":")
        Way(loop, float(rtt_ms) / 1000, int(port), links[opener], links[target], int(target_port))
    print("ready", flush=True)
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
