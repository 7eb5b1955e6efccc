#!/usr/bin/env python3
"""Whether servers that work for long grow: memory, threads and descriptors while thousands of transfers of
all kinds go both ways, and peers come and go.

  SOAK_SECONDS=600 benches/soak.py      further settings: harness.py
  WORKERS=3        commands at once

Three servers; the third is killed and started again all the time. Workers run one command after the other:
downloads of files and folders from one or all, uploads to one, to all and of folders, over what was there,
listings, searches, pings, the classic dialect, connections that say garbage or nothing, and clients that are
killed in the middle. The first third is for warming up. Then the two servers that stay are looked at every
second, and a line is laid through each figure. At last everybody leaves, and what is left is shown. The
exit code is 1 when threads or descriptors are left, or any command failed that should not.
"""
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time

import contenders as tools
from harness import MIB, Bench, print_surroundings, setting, table

SECONDS = setting("SOAK_SECONDS", 600)
WORKERS = setting("WORKERS", 3)
HOST = "127.0.0.1"
STAY, GO = ("a", "b"), "c"
FIGURES = ("memory MiB", "threads", "descriptors", "catalog KiB")


def figures(process, folder):
    """What a server has at this moment."""
    with open(f"/proc/{process.pid}/status") as file:
        status = dict(line.split(":", 1) for line in file if ":" in line)
    catalog = os.path.getsize(os.path.join(folder, ".peershare", "catalog"))
    return (int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"]),
            len(os.listdir(f"/proc/{process.pid}/fd")), catalog / 1024)


def slope(times, values):
    """Of the line through all of them, a minute."""
    if len(set(times)) < 2:
        return 0.0
    return 60 * statistics.linear_regression(times, values).slope


class Soak:
    def __init__(self, bench, namespace):
        self.bench, self.namespace = bench, namespace
        self.ours = tools.Ours(bench, {peer: (HOST, tools.OURS + number) for number, peer in enumerate("abc")})
        self.folders = {peer: bench.empty(peer) for peer in "abc"}
        for peer, folder in self.folders.items():
            self.fill(folder)
        self.servers = {peer: self.serve(peer) for peer in "abc"}
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.done, self.failed = {}, []

    def fill(self, folder):
        """The same at all peers."""
        content = random.Random(1)
        for number in range(30):
            self.write(f"{folder}/f{number}", content.randbytes(content.choice((0, 1, 5000, 300_000, 3 * MIB))))
        for number in range(150):
            self.write(f"{folder}/d/{number % 10}/{number}", content.randbytes(content.randrange(20_000)))
        self.write(f"{folder}/t.txt", b"a line of text\n" * 3000)

    @staticmethod
    def write(path, data):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)

    def serve(self, peer):
        return self.ours.serve(peer, self.folders[peer], self.namespace)

    def client(self, own, *words):
        """One command; gives its exit code."""
        argv = [str(word) for word in self.ours.client(own, *words)]
        inside = self.namespace.entered() if self.namespace else None
        if inside:
            with inside:
                process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        else:
            process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        return process

    def awaited(self, own, allowed, *words):
        process = self.client(own, "--timeout", "1s", *words)
        said = process.communicate(timeout=120)[1].decode(errors="replace").strip()
        if process.returncode not in allowed:
            with self.lock:
                self.failed.append(f"{' '.join(words)}: {process.returncode}: {said[-200:]}")

    def connection(self):
        if not self.namespace:
            return socket.create_connection((HOST, tools.OURS), 5)
        with self.namespace.entered():
            return socket.create_connection((HOST, tools.OURS), 5)

    # What one worker can do, in a folder of its own; peers that are away are no failure.

    def download(self, own, chance):
        self.awaited(own, (0,), "download", f"f{chance.randrange(30)}", "a", "b")

    def download_from_all(self, own, chance):
        self.awaited(own, (0, 3), "download", f"f{chance.randrange(30)}")

    def download_folder(self, own, chance):
        self.awaited(own, (0,), "download", f"d/{chance.randrange(10)}/", "a")

    def upload(self, own, chance):
        self.write(f"{own}/up/{chance.randrange(20)}", chance.randbytes(chance.choice((10, 100_000, 2 * MIB))))
        # Another worker may be at the same name, or have put another file there.
        self.awaited(own, (0, 5, 7), "upload", "up/", chance.choice("ab"), *chance.choice(((), ("--replace",))))

    def upload_to_all(self, own, chance):
        name = f"all{chance.randrange(5)}"
        self.write(f"{own}/{name}", chance.randbytes(MIB))
        self.awaited(own, (0, 3, 5, 7), "upload", name, "a", "b", GO, "--replace")

    def list(self, own, chance):
        self.awaited(own, (0, 3, 7), chance.choice(("filelist", "peers")))

    def search(self, own, chance):
        self.awaited(own, (0, 3, 4, 7), "search", "f1")

    def classic(self, own, chance):
        with self.connection() as link:
            link.sendall(chance.choice((b"#FILELIST\n", b"#DOWNLOAD t.txt\n", b"#UPLOAD t.txt bytes 10\n")))
            link.settimeout(5)
            link.recv(4096)

    def garbage(self, own, chance):
        with self.connection() as link:
            link.sendall(chance.choice((b"", b"\xf0", b"GET / HTTP/1.1\r\n\r\n", chance.randbytes(500))))

    def killed(self, own, chance):
        process = self.client(own, *chance.choice((("download", "d/", "a"), ("upload", "d/", "b", "--replace"))))
        time.sleep(chance.random() / 5)
        process.kill()
        process.communicate()

    WORK = (download, download, download, download_from_all, download_folder, upload, upload_to_all, list, search,
            classic, garbage, killed)

    def work(self, number):
        chance, own = random.Random(number), self.bench.empty(f"own{number}")
        while not self.over.is_set():
            kind = chance.choice(self.WORK)
            try:
                kind(self, own, chance)
            except (OSError, subprocess.TimeoutExpired) as error:
                with self.lock:
                    self.failed.append(f"{kind.__name__}: {error}")
            with self.lock:
                self.done[kind.__name__] = self.done.get(kind.__name__, 0) + 1
            shutil.rmtree(own, ignore_errors=True)
            os.makedirs(own, exist_ok=True)

    def come_and_go(self):
        while not self.over.wait(5):
            self.servers[GO].kill()
            self.bench.forget(self.servers[GO])
            if not self.over.wait(2):
                self.servers[GO] = self.serve(GO)

    def run(self):
        workers = [threading.Thread(target=self.work, args=(number,)) for number in range(WORKERS)]
        workers.append(threading.Thread(target=self.come_and_go))
        for worker in workers:
            worker.start()
        begin, seen = time.monotonic(), {peer: [] for peer in STAY}
        try:
            while (now := time.monotonic() - begin) < SECONDS:
                for peer in STAY:
                    seen[peer].append((now, *figures(self.servers[peer], self.folders[peer])))
                time.sleep(1)
        finally:
            self.over.set()
            for worker in workers:
                worker.join()
        return seen

    def left(self, peer):
        """What is left once everybody has gone; sessions take a moment to notice."""
        deadline = time.monotonic() + 30
        while True:
            now = figures(self.servers[peer], self.folders[peer])
            if now[2] <= 20 or time.monotonic() > deadline:
                return now
            time.sleep(0.2)


def main():
    with Bench() as bench:
        soak = Soak(bench, bench.loopback())
        print_surroundings(bench, tools.BIN + "/server")
        # Every kind of work once, so that threads that stay are there.
        chance, own = random.Random(0), bench.empty("own")
        for kind in dict.fromkeys(Soak.WORK):
            kind(soak, own, chance)
        soak.done.clear()
        before = {peer: soak.left(peer) for peer in STAY}
        seen = soak.run()
        after = {peer: soak.left(peer) for peer in STAY}
        rows = []
        for peer in STAY:
            times, *columns = zip(*(sample for sample in seen[peer] if sample[0] > SECONDS / 3))
            for figure, values, was, is_now in zip(FIGURES, columns, before[peer], after[peer]):
                rows.append((peer, figure, f"{was:.1f}", f"{statistics.median(values):.1f}", f"{max(values):.1f}",
                             f"{slope(times, values):+.3f}", f"{is_now:.1f}"))
        total = sum(soak.done.values())
        table(f"{total} commands in {SECONDS} s", ("server", "figure", "before", "median", "most", "slope a minute",
                                                   "after"), rows)
        for peer in STAY:
            tenths = [[sample[1] for sample in seen[peer] if int(sample[0] * 10 / SECONDS) == tenth]
                      for tenth in range(10)]
            print(f"memory of {peer} in MiB, each tenth of the time:",
                  *(f"{statistics.median(tenth):.2f}" for tenth in tenths if tenth))
        print(", ".join(f"{count} {kind}" for kind, count in sorted(soak.done.items())))
        for failure in soak.failed[:20]:
            print(f"failed: {failure}")
        grown = any(is_now[column] > was[column] for column in (1, 2)
                    for was, is_now in ((before[peer], after[peer]) for peer in STAY))
        print(f"{len(soak.failed)} failed; threads and descriptors {'are left' if grown else 'are as before'}")
        sys.exit(1 if grown or soak.failed else 0)


if __name__ == "__main__":
    main()
