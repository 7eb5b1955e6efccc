#!/usr/bin/env python3
"""How soon commands answer.

  search   `search` over 50 peers, of which two refuse connections and three accept them and say nothing: from
           the start of the client until the last of the 45 living has answered
  list     `filelist` of 100,000 files: until the first line, and until all

  BIN=target/release RUNS=5 benches/commands.py [search|list ...]

All on loopback, tmpfs; shown are medians [min-max] in seconds."""
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(os.environ.get("BIN", "target/release"))
RUNS = int(os.environ.get("RUNS", "5"))
ROOT = tempfile.mkdtemp(prefix="peershare-commands-", dir="/dev/shm")
STARTED = []


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def settings(peers):
    path = os.path.join(ROOT, "peer_settings.txt")
    with open(path, "w") as file:
        file.writelines(f"{peer} 127.0.0.1 {port}\n" for peer, port in peers)
    return path


def serve(peer, port, path):
    folder = os.path.join(ROOT, peer)
    argv = [f"{BIN}/server", peer, "--peer-settings", path, "--served-files", folder]
    STARTED.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    for _ in range(2000):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.005)
    sys.exit(f"{peer} did not start")


def client(path, *words):
    argv = [f"{BIN}/client", "--peer-settings", path, "--served-files", os.path.join(ROOT, "none"), *words]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def told(name, seconds):
    low, high = min(seconds), max(seconds)
    print(f"{name:40} {statistics.median(seconds):.3f} [{low:.3f}-{high:.3f}]", flush=True)


def search():
    silent = [socket.socket() for _ in range(3)]
    for listener in silent:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
    living = [(f"p{i:02}", free_port()) for i in range(45)]
    dead = [(f"silent{i}", listener.getsockname()[1]) for i, listener in enumerate(silent)]
    dead += [(f"refuses{i}", free_port()) for i in range(2)]
    path = settings(living + dead)
    for peer, port in living:
        os.makedirs(os.path.join(ROOT, peer, "docs"))
        for name in ("report.txt", "other.txt"):
            with open(os.path.join(ROOT, peer, "docs", name), "w") as file:
                file.write(f"{peer} {name}")
        serve(peer, port, path)
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        process = client(path, "search", "report")
        for _ in living:
            if b"report" not in process.stdout.readline():
                sys.exit("a living peer did not answer")
        seconds.append(time.perf_counter() - began)
        process.kill()
        process.wait()
    told("search, 45 of 50 peers living", seconds)


def listing():
    port = free_port()
    path = settings([("many", port)])
    for i in range(100_000):
        folder = os.path.join(ROOT, "many", f"d{i // 1000:03}")
        if i % 1000 == 0:
            os.makedirs(folder)
        with open(os.path.join(folder, f"f{i:06}"), "w") as file:
            file.write(str(i))
    serve("many", port, path)
    first, everything = [], []
    for _ in range(RUNS):
        began = time.perf_counter()
        process = client(path, "filelist")
        process.stdout.readline()
        first.append(time.perf_counter() - began)
        count = 1 + sum(1 for _ in process.stdout)
        everything.append(time.perf_counter() - began)
        if process.wait() or count != 100_000:
            sys.exit(f"{count} lines, exit code {process.returncode}")
    told("filelist of 100,000, first line", first)
    told("filelist of 100,000, all", everything)


try:
    rows = {"search": search, "list": listing}
    for row in sys.argv[1:] or rows:
        rows[row]()
finally:
    for process in STARTED:
        process.kill()
        process.wait()
    shutil.rmtree(ROOT, ignore_errors=True)
