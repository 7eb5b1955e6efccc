#!/usr/bin/env python3
"""Whole folders over loopback, tmpfs to tmpfs, beside what others need for the same.

  BIN=target/release ROUNDS=5 benches/folders.py [row ...]      rows: small medium again delta list start

Every round runs all contenders one after the other, so that a busy machine slows all of them down;
shown are medians [min-max] and the median of the rounds' ratios. rsync, curl with nginx, and tar with
nc take part where they are installed. Needs about 4 GiB in /dev/shm."""
import os, shutil, socket, statistics, subprocess, sys, tempfile, time

BIN = os.path.abspath(os.environ.get("BIN", "target/release"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
ROOT = tempfile.mkdtemp(prefix="peershare-folders-", dir="/dev/shm")
STARTED = []


def path(*parts):
    return os.path.join(ROOT, *parts)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(argv, port):
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    STARTED.append(process)
    for _ in range(2000):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return process
        except OSError:
            time.sleep(0.005)
    sys.exit(f"did not start: {argv}")


def seconds(argv, **more):
    began = time.perf_counter()
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **more)
    took = time.perf_counter() - began
    if result.returncode:
        sys.exit(f"{argv}: exit code {result.returncode}: {result.stderr.decode()}")
    return took


def fresh(name):
    shutil.rmtree(path(name), ignore_errors=True)
    os.makedirs(path(name))
    return path(name)


def files(name, count, kib, each=100):
    for i in range(count):
        folder = path(name, f"d{i // each:04}")
        if i % each == 0:
            os.makedirs(folder)
        with open(f"{folder}/f{i:06}.bin", "wb") as f:
            f.write(os.urandom(kib << 10) if kib else b"%d" % i)
    return path(name)


class Ours:
    def __init__(self, folder):
        port = free_port()
        self.settings = path(f"peers-{port}")
        with open(self.settings, "w") as f:
            f.write(f"p1 127.0.0.1 {port}\n")
        self.argv, self.port = [f"{BIN}/server", "p1", "--peer-settings", self.settings, "--served-files", folder], port
        self.server = start(self.argv, port)

    def client(self, into, *words):
        return [f"{BIN}/client", "-q", "--peer-settings", self.settings, "--served-files", into, *words]

    def hashed(self, count):
        while True:
            listed = subprocess.run(self.client(fresh("none"), "filelist", "p1"), capture_output=True, text=True).stdout
            lines = listed.splitlines()
            if len(lines) == count and not any(line.split("\t")[2] == "-" for line in lines):
                return self
            time.sleep(0.1)


def rsync(folder):
    port = free_port()
    with open(path(f"rsyncd-{port}.conf"), "w") as f:
        f.write(f"use chroot = no\nport = {port}\n[m]\npath = {folder}\nuid = {os.getuid()}\ngid = {os.getgid()}\n")
    start(["rsync", "--daemon", "--no-detach", f"--config={f.name}"], port)
    return f"rsync://127.0.0.1:{port}/m/"


def nginx(folder):
    port = free_port()
    with open(path(f"nginx-{port}.conf"), "w") as f:
        f.write(f"daemon off; worker_processes 2; pid {path('nginx.pid')}; error_log /dev/null; user root;\n"
                f"events {{}} http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;\n"
                f"server {{ listen 127.0.0.1:{port}; root {folder}; }} }}\n")
    start(["nginx", "-c", f.name], port)
    return f"http://127.0.0.1:{port}"


def shown(values, unit="s"):
    digits = 0 if unit else 3
    return f"{statistics.median(values):.{3 if unit == 's' else 0}f} [{min(values):.{3 if unit == 's' else 0}f}-{max(values):.{3 if unit == 's' else 0}f}]"


def compare(title, contenders, count=None):
    """Runs all contenders in turn; the first is ours, ratios are its speed over each other's."""
    times = {name: [] for name in contenders}
    for round in range(ROUNDS + 1):
        for name, run in contenders.items():
            took = run()
            if round:  # the first one warms caches up
                times[name].append(took)
    ours = times[next(iter(contenders))]
    print(f"\n{title}")
    for name, took in times.items():
        ratio = statistics.median(other / own for own, other in zip(ours, took))
        rate = "" if count is None else f"  {shown([count / t for t in took], 'files/s')} files/s"
        print(f"  {name:16} {shown(took)} s{rate}  ours is {ratio:.2f} x as fast")


def many(title, count, kib):
    source = files(f"{count}x{kib}", count, kib)
    ours = Ours(source).hashed(count)
    into = path("out")
    names = [f"d{i // 100:04}/f{i:06}.bin" for i in range(count)]
    contenders = {"peershare": lambda: seconds(ours.client(fresh("out"), "download", "**", "p1"))}
    if shutil.which("rsync"):
        url = rsync(source)
        contenders["rsync daemon"] = lambda: seconds(["rsync", "-rW", "--exclude=.peershare", url, fresh("out") + "/"])
    if shutil.which("nginx") and shutil.which("curl"):
        base, config = nginx(source), path("curl.txt")
        with open(config, "w") as f:
            f.writelines(f'url = "{base}/{name}"\noutput = "{into}/{name}"\n' for name in names)
        argv = ["curl", "-s", "-Z", "--parallel-max", "8", "--create-dirs", "-K", config]
        contenders["nginx, curl -Z"] = lambda: (fresh("out"), seconds(argv))[1]
    if shutil.which("nc"):
        def tar():
            port, out = free_port(), fresh("out")
            sender = subprocess.Popen(f"tar -cf - -C {source} --exclude .peershare . | nc -N -l 127.0.0.1 {port}", shell=True)
            time.sleep(0.1)
            took = seconds(["sh", "-c", f"nc -d 127.0.0.1 {port} | tar -xf - -C {out}"])
            sender.wait()
            return took
        contenders["tar over nc"] = tar
    compare(title, contenders, count)
    return source, ours


def small():
    many("10,000 files of 4 KiB", 10_000, 4)


def medium():
    many("1,000 files of 64 KiB", 1_000, 64)


def again():
    source = files("again", 10_000, 4)
    ours = Ours(source).hashed(10_000)
    out = fresh("again-out")
    seconds(ours.client(out, "download", "**", "p1"))
    contenders = {"peershare": lambda: seconds(ours.client(out, "download", "**", "p1"))}
    if shutil.which("rsync"):
        url, other = rsync(source), fresh("again-rsync")
        seconds(["rsync", "-a", "--exclude=.peershare", url, other])
        contenders["rsync daemon"] = lambda: seconds(["rsync", "-a", "--exclude=.peershare", url, other])
    compare("the same 10,000 files again, nothing changed", contenders)


def delta():
    chunk, count = 256 << 10, 4096
    os.makedirs(path("delta"))
    with open(path("old"), "wb") as f:
        for _ in range(count):
            f.write(os.urandom(chunk))
    shutil.copy(path("old"), path("delta", "big"))
    with open(path("delta", "big"), "r+b") as f:
        for i in range(count // 100):
            f.seek((i * 100 + 37) * chunk + 1000)
            f.write(os.urandom(100))
    ours = Ours(path("delta")).hashed(1)

    def prepared(name):
        out = fresh(name)
        shutil.copy(path("old"), out + "/big")
        os.sync()
        return out

    def run():
        out = prepared("delta-out")
        before = received()
        took = seconds(ours.client(out, "download", "big", "p1", "--replace"))
        wire.append((received() - before) / (chunk * count))
        return took

    wire = []
    contenders = {"peershare": run}
    if shutil.which("rsync"):
        url = rsync(path("delta"))
        for name, more in ("rsync daemon", []), ("rsync --inplace", ["--inplace"]):
            contenders[name] = lambda more=more: seconds(["rsync", "-a", "--no-whole-file", "--ignore-times", *more,
                                                          url + "big", prepared("delta-rsync") + "/big"])
    compare("1 GiB with 1 % of its chunks changed, --replace", contenders)
    print(f"  all traffic of the loopback meanwhile, of the file's length: {100 * statistics.median(wire):.2f} %")


def received():
    for line in open("/proc/net/dev"):
        if line.strip().startswith("lo:"):
            return int(line.split(":")[1].split()[0])
    return 0


def listing():
    ours = Ours(files("100000", 100_000, 0, 1000)).hashed(100_000)
    firsts, alls = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        process = subprocess.Popen(ours.client(fresh("none"), "filelist", "p1"), stdout=subprocess.PIPE)
        process.stdout.readline()
        firsts.append(time.perf_counter() - began)
        lines = 1 + sum(1 for _ in process.stdout)
        process.wait()
        alls.append(time.perf_counter() - began)
        assert lines == 100_000, lines
    print(f"\n#FILELIST of 100,000 files\n  first line {shown(firsts)} s, all {shown(alls)} s")
    return ours


def server_start():
    source = files("start", 100_000, 0, 1000)
    ours = Ours(source)
    for what in ("nothing hashed", "all hashed"):
        answers = []
        for _ in range(ROUNDS):
            ours.server.terminate()
            ours.server.wait()
            if what == "nothing hashed":
                shutil.rmtree(source + "/.peershare")
            began = time.perf_counter()
            ours.server = subprocess.Popen(ours.argv, stderr=subprocess.DEVNULL)
            STARTED.append(ours.server)
            answered = ours.client(fresh("none"), "filelist", "d0001/", "p1")
            while subprocess.run(answered, capture_output=True).returncode:
                time.sleep(0.005)
            answers.append(time.perf_counter() - began)
        print(f"\nserver start on 100,000 files, {what}\n  answers after {shown(answers)} s")
        ours.hashed(100_000)


ROWS = {"small": small, "medium": medium, "again": again, "delta": delta, "list": listing, "start": server_start}
try:
    for row in sys.argv[1:] or ROWS:
        ROWS[row]()
        for process in STARTED:
            process.terminate()
            process.wait()
        STARTED.clear()
finally:
    for process in STARTED:
        process.kill()
    shutil.rmtree(ROOT, ignore_errors=True)
