#!/usr/bin/env python3
"""What does not grow with the wire: the fixed price of a transfer, memory, and connections that do nothing.

  byte     a file of one byte, from the start of the client process to its end; servers are up. `true` is
           the price of starting any process
  memory   peak memory of each side for files of 2 and 20 GiB (sparse: they take no room at the source)
  idle     300 connections that have said hello and then say nothing, held open by this script on one
           server: a download beside them against the same one alone, and what each of them costs

  RUNS=5 benches/small.py [byte|memory|idle ...]        further settings: harness.py
  BYTE_RUNS=30                 rounds of `byte`, at least 20
  MEMORY_MIB="2048 20480"      sizes of `memory`; MEMORY_RUNS=2 its rounds
  CONNECTIONS=300 SIZE_MIB=1024   for `idle`

Contenders: ours; curl and aria2 from nginx; an rsync daemon. What is not installed is left out. All on
loopback, in a network namespace of its own; without root on the machine's own loopback. What is received goes
to memory, or where it is too large for that to BENCH_DISK.
"""
import functools
import os
import resource
import shutil
import socket
import statistics
import struct
import sys
import time

import contenders as tools
from harness import (MIB, RUNS, Bench, against, count, emptied, of, print_failures, print_surroundings, setting, skip,
                     table, verified)

HOST = "127.0.0.1"
BYTE_RUNS = max(20, setting("BYTE_RUNS", 30))
MEMORY_RUNS = setting("MEMORY_RUNS", 2)
MEMORY_SIZES = [int(mib) * MIB for mib in setting("MEMORY_MIB", "2048 20480").split()]
CONNECTIONS = setting("CONNECTIONS", 300)
IDLE_SIZE = setting("SIZE_MIB", 1024) * MIB
OURS = "peershare"


class Place:
    """Everybody's server for one folder with one file, and everybody's command to fetch it."""

    def __init__(self, bench, namespace, source, out):
        self.bench, self.namespace, self.source, self.out = bench, namespace, source, out
        folder, name = os.path.split(source)
        self.ours = tools.Ours(bench, {"source": (HOST, tools.OURS)})
        self.server = self.ours.serve("source", folder, namespace)
        self.clients = {OURS: (self.ours.client(os.path.dirname(out), "download", name, "source"), self.server)}
        self.servers = [self.server]
        url = tools.url(HOST, name)
        if tools.have("nginx"):
            web = self.serve(tools.nginx, folder)
            if tools.have("curl"):
                self.clients["curl"] = tools.curl(url, out), web
            if tools.have("aria2c"):
                self.clients["aria2"] = tools.aria2([url], out, *tools.ARIA_TUNED), web
        if tools.have("rsync"):
            daemon = self.serve(tools.rsync_daemon, folder)
            self.clients["rsync daemon"] = tools.rsync(tools.rsync_url(HOST, name), out), daemon

    def serve(self, start, folder):
        self.servers.append(start(self.bench, folder, HOST, self.namespace))
        return self.servers[-1]

    def run(self, argv, server, sample=True, limit=600.0):
        emptied(os.path.dirname(self.out))
        run = self.bench.run(argv, self.namespace, [server] if sample else [], limit, sample)
        run = verified(run, self.source, self.out)
        emptied(os.path.dirname(self.out))
        return run

    def leave(self):
        self.bench.forget(*self.servers)


# ------------------------------------------------------------------ one byte

def one_byte(bench, namespace):
    source = bench.path("byte", "one.bin")
    with open(source, "wb") as file:
        file.write(b"1")
    place = Place(bench, namespace, source, bench.path("out", "one.bin"))
    runs = {"true (any process)": lambda: bench.run(["true"], namespace, sample=False)}
    for name, (argv, server) in place.clients.items():
        runs[name] = functools.partial(place.run, argv, server, sample=False)
    results = bench.rounds(runs, BYTE_RUNS, quiet=False)
    place.leave()
    rows = [[name, of(runs, lambda run: run.wall * 1000, 1), against(results, name, "curl"), count(runs)]
            for name, runs in results.items()]
    table("One byte, whole client process", ["contender", "ms", "time ÷ curl", "runs"], rows)
    print_failures(results)


# ------------------------------------------------------------------ memory

def memory(bench, namespace, size):
    source = bench.path(f"sparse-{size // MIB}", "sparse.bin")
    with open(source, "wb") as file:
        file.truncate(size)
    where = bench.path("out") if size <= shutil.disk_usage(bench.folder).free // 6 else bench.on_disk()
    if shutil.disk_usage(os.path.dirname(where)).free < size * 1.1:
        skip(f"memory with {size // MIB} MiB: no room for it in {os.path.dirname(where)}; set BENCH_DISK")
        return
    place = Place(bench, namespace, source, os.path.join(where, "sparse.bin"))
    runs = {name: functools.partial(place.run, argv, server) for name, (argv, server) in place.clients.items()}
    results = bench.rounds(runs, MEMORY_RUNS)
    place.leave()
    rows = [[name, of(runs, lambda run: run.client_peak / MIB, 1), of(runs, lambda run: run.server_peak / MIB, 1),
             count(runs)] for name, runs in results.items()]
    table(f"Peak memory, {size // MIB} MiB", ["contender", "client MiB", "server MiB", "runs"], rows)
    print_failures(results)


# ------------------------------------------------------------------ idle connections

GREETING = bytes.fromhex("f09fa7a9 01")
HELLO = b'{"type":"hello","agent":"benches/small.py"}'


def connect(address):
    """A connection in the framed dialect whose hello has been answered; see src/wire/mod.rs."""
    stream = socket.create_connection(address, 10)
    stream.sendall(GREETING + struct.pack(">II", len(HELLO), 0) + HELLO)
    if receive(stream, 5)[:4] != GREETING[:4]:
        raise RuntimeError("no greeting came back")
    header, payload = struct.unpack(">II", receive(stream, 8))
    answer = receive(stream, header + payload)
    if b'"hello"' not in answer:
        raise RuntimeError(f"hello was answered by {answer[:200]!r}")
    return stream


def receive(stream, length):
    got = b""
    while len(got) < length:
        more = stream.recv(length - len(got))
        if not more:
            raise RuntimeError("the server closed an idle connection")
        got += more
    return got


def connect_many(place):
    address = place.ours.peers["source"]
    if not place.namespace:
        return [connect(address) for _ in range(CONNECTIONS)]
    with place.namespace.entered():
        return [connect(address) for _ in range(CONNECTIONS)]


def threads(server):
    return len(os.listdir(f"/proc/{server.pid}/task"))


def close_all(place, connections, wanted_threads):
    for connection in connections:
        connection.close()
    deadline = time.monotonic() + 10
    while threads(place.server) > wanted_threads and time.monotonic() < deadline:
        time.sleep(0.01)


def beside(place, argv):
    """One download while the connections are open; each must still be open after it."""
    before, count_before = place.server.resident(), threads(place.server)
    connections = connect_many(place)
    try:
        grown = place.server.resident() - before
        run = place.run(argv, place.server)
        for connection in connections:
            connection.setblocking(False)
            try:
                raise RuntimeError(f"the server sent {connection.recv(1)!r} on an idle connection")
            except BlockingIOError:
                pass
    finally:
        close_all(place, connections, count_before)
    run.extra["each"] = grown / CONNECTIONS
    return run


def idle(bench, namespace):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    source = bench.random_file(bench.path("idle", "file.bin"), IDLE_SIZE)
    place = Place(bench, namespace, source, bench.path("out", "file.bin"))
    argv, server = place.clients[OURS]
    place.run(argv, server)     # the server's first download, so that only connections make it grow after it
    alone, crowded = "alone", f"beside {CONNECTIONS} idle connections"
    bench.primed = IDLE_SIZE
    results = bench.rounds({alone: lambda: place.run(argv, server), crowded: lambda: beside(place, argv)}, RUNS)
    bench.primed = 0
    place.leave()
    rows = [[name, of(runs, lambda run: run.wall, 3), against(results, name, alone), count(runs)]
            for name, runs in results.items()]
    table(f"A download of {IDLE_SIZE // MIB} MiB", ["", "time s", "time ÷ alone", "runs"], rows)
    each = [run.extra["each"] / 1024 for run in results.get(crowded, ()) if "each" in run.extra]
    if each:
        print(f"resident per idle connection: first time {each[0]:.1f} KiB, median {statistics.median(each):.1f} KiB")
    print_failures(results)


def main():
    chosen = sys.argv[1:] or ["byte", "memory", "idle"]
    if not set(chosen) <= {"byte", "memory", "idle"}:
        sys.exit("parts: byte memory idle")
    tools.Ours.require()
    with Bench() as bench:
        namespace = bench.loopback()
        print_surroundings(bench, *tools.names())
        if "byte" in chosen:
            one_byte(bench, namespace)
        if "memory" in chosen:
            for size in MEMORY_SIZES:
                memory(bench, namespace, size)
        if "idle" in chosen:
            idle(bench, namespace)


if __name__ == "__main__":
    main()
