#!/usr/bin/env python3
"""A crowd before the door: 2,000 connections that want nothing, beside people who want something.

  idle      connect and say nothing
  greeted   say hello, and then nothing
  reopen    connect and leave, again every second
  drip      say hello, and then a byte of a request every second

each from one address (127.0.0.2) and from 250 (127.0.1.x). Whoever is turned away comes again after a second.
Shown are, as medians [min-max] of all rounds: the time of a download beside the crowd ÷ alone, right before;
how long `filelist` by another address takes; and threads, open files and memory of the server before and after.

  BIN=target/release RUNS=5 CROWD=2000 SIZE_MIB=1024 benches/crowd.py [idle|greeted|reopen|drip ...]

All on loopback and tmpfs. The crowd takes a part of the two or more cores itself. Linux, as it binds to addresses
of loopback. The server and the crowd need as many open files as there are connections (`ulimit -Hn`)."""
import os
import resource
import select
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(os.environ.get("BIN", "target/release"))
RUNS = int(os.environ.get("RUNS", "5"))
CROWD = int(os.environ.get("CROWD", "2000"))
SIZE = int(os.environ.get("SIZE_MIB", "1024")) << 20
ROOT = tempfile.mkdtemp(prefix="peershare-crowd-", dir="/dev/shm")
STARTED = []
GREETING = bytes.fromhex("f09fa7a9 01")
HELLO = b'{"type":"hello","agent":"benches/crowd.py"}'
INTRODUCTION = GREETING + struct.pack(">II", len(HELLO), 0) + HELLO
NO_PORT = 24  # IP_BIND_ADDRESS_NO_PORT: a port is chosen when it is known where to
AGAIN = 1.0


class Crowd:
    """Connections of one kind, in a process of its own."""

    def __init__(self, kind, addresses, port):
        self.kind, self.addresses, self.port = kind, addresses, port
        self.open, self.due, self.epoll = {}, [], select.epoll()

    def run(self):
        self.due = [(time.monotonic() + AGAIN * number / CROWD, number) for number in range(CROWD)]
        said = time.monotonic()
        while True:
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                self.connect(self.due.pop(0)[1])
            for fd, events in self.epoll.poll(0.01):
                self.ready(fd, events)
            if self.kind == "drip" and now - said >= 1:
                said = now
                for fd in list(self.open):
                    self.say(fd, b"\0")

    def connect(self, number):
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, NO_PORT, 1)
        sock.bind((self.addresses[number % len(self.addresses)], 0))
        sock.connect_ex(("127.0.0.1", self.port))
        self.open[sock.fileno()] = sock, number
        self.epoll.register(sock.fileno(), select.EPOLLOUT)

    def ready(self, fd, events):
        if fd not in self.open:
            return
        if events & (select.EPOLLERR | select.EPOLLHUP):
            self.leave(fd)
        elif events & select.EPOLLOUT:
            self.epoll.modify(fd, select.EPOLLIN)
            if self.kind == "reopen":
                self.leave(fd)
            elif self.kind != "idle":
                self.say(fd, INTRODUCTION)
        else:
            try:
                if self.open[fd][0].recv(4096):
                    return
            except OSError:
                pass
            self.leave(fd)

    def say(self, fd, words):
        try:
            self.open[fd][0].send(words)
        except OSError:
            self.leave(fd)

    def leave(self, fd):
        sock, number = self.open.pop(fd)
        self.epoll.unregister(fd)
        sock.close()
        self.due.append((time.monotonic() + AGAIN, number))


def gather(kind, addresses, port):
    """Starts a crowd; gives its process."""
    pid = os.fork()
    if pid == 0:
        try:
            os.nice(5)
            Crowd(kind, addresses, port).run()
        finally:
            os._exit(1)
    time.sleep(3)
    return pid


def disperse(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def start():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    path = os.path.join(ROOT, "peer_settings.txt")
    with open(path, "w") as file:
        file.write(f"source 127.0.0.1 {port}\n")
    folder = os.path.join(ROOT, "source")
    os.makedirs(folder)
    with open(os.path.join(folder, "big.bin"), "wb") as file:
        for _ in range(SIZE >> 20):
            file.write(os.urandom(1 << 20))
    argv = [f"{BIN}/server", "source", "--peer-settings", path, "--served-files", folder, "-q"]
    STARTED.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL))
    for _ in range(2000):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            break
        except OSError:
            time.sleep(0.005)
    download(path)  # from here on it is hashed
    return path, port, STARTED[-1].pid


def client(path, *words):
    out = os.path.join(ROOT, "out")
    shutil.rmtree(out, ignore_errors=True)
    argv = [f"{BIN}/client", "--peer-settings", path, "--served-files", out, "-q", *words]
    began = time.perf_counter()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    took = time.perf_counter() - began
    return took if done.returncode == 0 else None


def download(path):
    return client(path, "download", "big.bin", "source")


def state(pid):
    """Threads, open files and MiB of memory of a process."""
    with open(f"/proc/{pid}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    files = len(os.listdir(f"/proc/{pid}/fd"))
    return int(fields["Threads"]), files, int(fields["VmRSS"].split()[0]) >> 10


def settled(pid, before):
    """The state once it is as before, or after fifteen seconds."""
    for _ in range(150):
        now = state(pid)
        if now[:2] == before[:2]:
            break
        time.sleep(0.1)
    return now


def of(numbers, digits=2):
    numbers = [number for number in numbers if number is not None]
    if not numbers:
        return "–"
    low, middle, high = min(numbers), statistics.median(numbers), max(numbers)
    return f"{middle:.{digits}f} [{low:.{digits}f}–{high:.{digits}f}]"


def row(kind, where, addresses, path, port, pid):
    before = state(pid)
    ratios, listings, failed = [], [], 0
    for _ in range(RUNS):
        alone = download(path)
        crowd = gather(kind, addresses, port)
        beside, listing = download(path), client(path, "filelist", "source")
        disperse(crowd)
        failed += (beside is None) + (listing is None)
        ratios.append(beside / alone if beside and alone else None)
        listings.append(listing)
    after = settled(pid, before)
    states = " | ".join(f"{was} → {now}" for was, now in zip(before, after))
    print(f"| {kind}, {where} | {of(ratios)} | {of(listings, 3)} | {failed} of {2 * RUNS} | {states} |", flush=True)


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    path, port, pid = start()
    print("| crowd | download ÷ alone | filelist s | failed | threads | open files | MiB |\n" + "|---" * 7 + "|")
    many = [f"127.0.1.{number}" for number in range(1, 251)]
    for kind in sys.argv[1:] or ["idle", "greeted", "reopen", "drip"]:
        row(kind, "one address", ["127.0.0.2"], path, port, pid)
        row(kind, "250 addresses", many, path, port, pid)


try:
    main()
finally:
    for process in STARTED:
        process.kill()
        process.wait()
    shutil.rmtree(ROOT, ignore_errors=True)
