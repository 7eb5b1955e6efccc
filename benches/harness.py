"""What the scripts in this folder share: namespaces and shaped links, processes and what they cost,
interleaved rounds, tables. Linux, Python 3.9 or newer, nothing beyond its standard library.

Settings, all from the environment:
  RUNS           rounds; in each, every contender runs once                             5
  CC             TCP congestion control in our namespaces; where the kernel refuses
                 it, `reno` or what is there already, and the output says which         cubic
  QUIET          seconds to wait, before a run, for other programs to be quiet; a run
                 during which they were not is repeated twice at most; 0: neither       60
  ONLY           names of contenders, with commas between; the others are left out
  PEERSHARE_BIN  folder with our `client` and `server`                                  target/release
  OLD_BIN        folder with those of an earlier build, which take part as `before`
                 in push.py, multi.py and distance.py                                   none
  BENCH_RAM      a tmpfs for all files; each script makes a folder there and removes it  /dev/shm
  BENCH_DISK     where files go that are too large for memory                           /var/tmp
"""
import contextlib
import ctypes
import dataclasses
import json
import mmap
import os
import platform
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
MIB = 1 << 20


def setting(name, default):
    """A number from the environment."""
    return type(default)(os.environ.get(name) or default)


RUNS = setting("RUNS", 5)
QUIET = setting("QUIET", 60.0)
CC = os.environ.get("CC") or "cubic"
ONLY = [name.strip() for name in os.environ.get("ONLY", "").split(",") if name.strip()]
RAM = os.environ.get("BENCH_RAM") or "/dev/shm"
DISK = os.environ.get("BENCH_DISK") or "/var/tmp"
TICKS = os.sysconf("SC_CLK_TCK")
IS_ROOT = os.geteuid() == 0


def say(text):
    """To the person who waits; tables alone go to stdout."""
    print(text, file=sys.stderr, flush=True)


def skip(what):
    print(f"skipped: {what}", flush=True)


def needs_root(what):
    """Whether shaped links can be made; if not, says so in one line."""
    if IS_ROOT and shutil.which("ip") and shutil.which("tc"):
        return True
    skip(f"{what}: shaped links need root (network namespaces), and ip and tc of iproute2")
    return False


# ------------------------------------------------------------------ namespaces and links

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_PR_SET_CHILD_SUBREAPER = 36


def command(*words):
    """Runs a short command; an error becomes an exception that says what it said."""
    words = [str(word) for word in words]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Namespace:
    """A network namespace of our own."""

    def __init__(self, name):
        self.name = name
        self.fd = None
        self.address = "127.0.0.1"

    def make(self):
        command("ip", "netns", "add", self.name)
        self.fd = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        command("ip", "-n", self.name, "link", "set", "lo", "up")

    @contextlib.contextmanager
    def entered(self):
        """What this thread opens and starts meanwhile is inside; no helper program, so no time is lost."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._enter(self.fd)
        try:
            yield
        finally:
            self._enter(home)
            os.close(home)

    @staticmethod
    def _enter(fd):
        if _libc.setns(fd, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    def set_congestion_control(self):
        """The wanted one, else reno, else none; gives what is in force then."""
        path = "/proc/sys/net/ipv4/tcp_congestion_control"
        with self.entered():
            for name in (CC, "reno"):
                with contextlib.suppress(OSError), open(path, "w") as file:
                    file.write(name)
                if _read(path).strip() == name:
                    break
            return _read(path).strip()

    def take_no_firewall(self):
        """Packets on a bridge do not pass the machine's firewall; a switch has none, and it costs time."""
        with self.entered():
            for table in ("iptables", "ip6tables", "arptables"):
                with contextlib.suppress(OSError), open(f"/proc/sys/net/bridge/bridge-nf-call-{table}", "w") as file:
                    file.write("0")

    def remove(self):
        """Ends what is left in it (ours, as nobody else knows the namespace) and deletes it."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True)
        for pid in found.stdout.split():
            with contextlib.suppress(OSError):
                os.kill(int(pid), signal.SIGKILL)
        if self.fd is not None:
            os.close(self.fd)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)


class Node(Namespace):
    """A machine of a star: one interface, towards the switch."""

    up = down = None

    def shape(self, up, down=None):
        """Limits what it sends and what it receives, in Mbit/s; None is no limit."""
        if up != self.up:
            _limit(self.name, "eth0", up)
        if down != self.down:
            _limit(self.switch.name, self.port, down)
        self.up, self.down = up, down

    def link(self, state):
        """`down` is silence: nothing is closed, nothing is answered."""
        command("ip", "-n", self.name, "link", "set", "eth0", state)

    def isolate(self, on):
        """An isolated node reaches only those that are not; packets between two isolated ones vanish."""
        state = "on" if on else "off"
        command("ip", "-n", self.switch.name, "link", "set", self.port, "type", "bridge_slave", "isolated", state)

    def sent_payload(self):
        """Bytes it sent so far, without the headers of Ethernet, IP and TCP (66 bytes a packet)."""
        shown = json.loads(command("ip", "-n", self.name, "-s", "-j", "link", "show", "dev", "eth0"))
        sent = shown[0]["stats64"]["tx"]
        return sent["bytes"] - 66 * sent["packets"]


def _limit(namespace, device, mbit):
    """A token bucket with 2 ms of burst and a queue of 50 ms, like a home router's."""
    if mbit is None:
        subprocess.run(["tc", "-n", namespace, "qdisc", "del", "dev", device, "root"], capture_output=True)
        return
    burst = max(16 << 10, int(mbit * 1e6 / 8 * 0.002))
    command("tc", "-n", namespace, "qdisc", "replace", "dev", device, "root",
            "tbf", "rate", f"{int(mbit * 1000)}kbit", "burst", burst, "latency", "50ms")


# ------------------------------------------------------------------ processes

def _read(path):
    with open(path) as file:
        return file.read()


def _stat(pid):
    """Fields of /proc/PID/stat after the name, or None."""
    try:
        text = _read(f"/proc/{pid}/stat")
    except OSError:
        return None
    return text[text.rindex(")") + 2:].split()


def _cpu_of_groups():
    """User and system seconds so far of every process group, its children that ended included."""
    groups = {}
    for entry in os.listdir("/proc"):
        stat = entry.isdigit() and _stat(entry)
        if stat:
            user, system = groups.get(int(stat[2]), (0.0, 0.0))
            groups[int(stat[2])] = (user + (int(stat[11]) + int(stat[13])) / TICKS,
                                    system + (int(stat[12]) + int(stat[14])) / TICKS)
    return groups


def _memory(pid, field):
    """VmHWM or VmRSS in bytes; 0 when the process is gone."""
    with contextlib.suppress(OSError):
        for line in _read(f"/proc/{pid}/status").splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) << 10
    return 0


def _with_children(pid):
    """A process and those that it started, as far as the kernel tells cheaply."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            found += map(int, _read(f"/proc/{parent}/task/{parent}/children").split())
    return found


def _peak(pid):
    """Peak memory of the largest of a process and its children, in bytes."""
    return max(_memory(process, "VmHWM") for process in _with_children(pid))


class Process:
    """A process that a script started, with its own process group."""

    def __init__(self, argv, log, namespace=None, env=None):
        self.argv, self.log = [str(word) for word in argv], log
        inside = namespace.entered() if namespace else contextlib.nullcontext()
        with open(log, "w") as out, inside:
            self.started = time.perf_counter()
            self.popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          env={**os.environ, **(env or {})}, start_new_session=True)
        self.pid = self.popen.pid
        self.ended = None
        self.usage = None
        self.peak = 0

    def poll(self):
        """Its exit code once it has ended (below 0: the signal), else None."""
        if self.popen.returncode is None:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                self.ended = time.perf_counter()
                # Until it is waited for, its number is nobody else's, so the group is still ours.
                self._signal(signal.SIGKILL)
                _, status, self.usage = os.wait4(self.pid, 0)
                self.popen.returncode = os.waitstatus_to_exitcode(status)
        return self.popen.returncode

    def sample(self):
        if self.popen.returncode is None:
            self.peak = max(self.peak, _peak(self.pid))

    def resident(self):
        return _memory(self.pid, "VmRSS")

    def cpu(self):
        """User and system seconds so far of its whole group, children that ended included."""
        if self.usage:
            return self.usage.ru_utime, self.usage.ru_stime
        return _cpu_of_groups().get(self.pid, (0.0, 0.0))

    def kill(self):
        """At once, as a power cut would."""
        if self.poll() is None:
            self._signal(signal.SIGKILL)
        while self.poll() is None:
            time.sleep(0.005)

    def stop(self):
        """In order, then by force."""
        if self.poll() is None:
            self._signal(signal.SIGTERM)
            deadline = time.monotonic() + 3
            while self.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
        self.kill()

    def _signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def last_words(self):
        with contextlib.suppress(OSError):
            with open(self.log, errors="replace") as file:
                lines = file.read().strip().splitlines()
            return lines[-1][:200] if lines else ""
        return ""


@dataclasses.dataclass
class Run:
    """What one run of one contender cost; seconds, bytes."""
    wall: float = float("nan")
    ok: bool = False
    note: str = ""
    client_cpu: float = 0.0
    server_cpu: float = 0.0
    client_peak: int = 0
    server_peak: int = 0
    disturbed: bool = False
    extra: dict = dataclasses.field(default_factory=dict)

    @property
    def cpu(self):
        return self.client_cpu + self.server_cpu


def _busy_time():
    fields = [int(field) for field in _read("/proc/stat").split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


def wait_until_quiet():
    """Returns once other programs use less than a tenth of a core, or after QUIET seconds."""
    deadline = time.monotonic() + QUIET
    while time.monotonic() < deadline:
        busy, since = _busy_time(), time.monotonic()
        time.sleep(0.5)
        if (_busy_time() - busy) / (time.monotonic() - since) < 0.1:
            return


def prime(size):
    """Touches and frees memory. A virtual machine gives freed memory back to its host, and the first
    touch of a page then costs several times that of the next."""
    if size:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_POPULATE", 0)
        mmap.mmap(-1, size, flags=flags).close()


class Bench:
    """A `with` block; whatever is made in it is gone after it, Ctrl-C and SIGTERM included."""

    def __init__(self):
        self.folder = None
        self.disk = None
        self.primed = 0                             # bytes of memory that a client will use; see prime
        self.processes = []
        self.namespaces = []
        self.congestion_control = None
        self.logs = 0

    def __enter__(self):
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)     # what loses its parent becomes our child
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(143))
        self.folder = tempfile.mkdtemp(prefix="peershare-bench-", dir=RAM if os.access(RAM, os.W_OK) else None)
        return self

    def __exit__(self, kind, error, trace):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for process in self.processes:
            process.kill()
        for namespace in reversed(self.namespaces):
            namespace.remove()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        for folder in filter(None, (self.folder, self.disk)):
            shutil.rmtree(folder, ignore_errors=True)
        if kind is KeyboardInterrupt:
            say("interrupted; all cleaned up")
            sys.exit(130)

    def path(self, *parts):
        """A path in our folder; folders on the way are made."""
        path = os.path.join(self.folder, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def empty(self, *parts):
        """An empty folder."""
        return emptied(self.path(*parts))

    def on_disk(self):
        """Our folder for what is too large for memory."""
        self.disk = self.disk or tempfile.mkdtemp(prefix="peershare-bench-", dir=DISK)
        return self.disk

    def random_file(self, path, size):
        """A file that nothing can compress."""
        with open(path, "wb") as file:
            for start in range(0, size, MIB):
                file.write(os.urandom(min(MIB, size - start)))
        return path

    def namespace(self, name, kind=Namespace):
        namespace = kind(f"peershare-{os.getpid()}-{name}")
        self.namespaces.append(namespace)       # before it exists, so that an interruption finds it
        namespace.make()
        self.congestion_control = namespace.set_congestion_control()
        return namespace

    def loopback(self):
        """A namespace for everything on loopback, or None without root: then it is the machine's own."""
        if IS_ROOT and shutil.which("ip"):
            return self.namespace("lo")
        self.congestion_control = _read("/proc/sys/net/ipv4/tcp_congestion_control").strip()
        say("not root: on the machine's own loopback, with its own TCP settings")
        return None

    def star(self, names):
        """A switch, and a node on it for every name."""
        switch = self.namespace("switch")
        switch.take_no_firewall()
        command("ip", "-n", switch.name, "link", "add", "br0", "type", "bridge")
        command("ip", "-n", switch.name, "link", "set", "br0", "up")
        nodes = {}
        for number, name in enumerate(names, 1):
            node = nodes[name] = self.namespace(name, Node)
            node.switch, node.port, node.address = switch, f"port{number}", f"10.99.0.{number}"
            command("ip", "-n", node.name, "link", "add", "eth0", "type", "veth",
                    "peer", "name", node.port, "netns", switch.name)
            command("ip", "-n", node.name, "address", "add", f"{node.address}/24", "dev", "eth0")
            node.link("up")
            command("ip", "-n", switch.name, "link", "set", node.port, "master", "br0", "up")
        return nodes

    def start(self, argv, namespace=None, env=None):
        self.logs += 1
        log = self.path("log", f"{self.logs}-{os.path.basename(str(argv[0]))}")
        process = Process(argv, log, namespace, env)
        self.processes.append(process)
        return process

    def await_true(self, process, is_up, limit=60):
        """Waits until a server that was started answers."""
        deadline = time.monotonic() + limit
        while not is_up():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{process.argv[0]} did not come up: {process.last_words()}")
            time.sleep(0.02)
        return process

    def forget(self, *processes):
        """Ends these and keeps them no longer."""
        for process in processes:
            process.stop()
            self.processes.remove(process)

    def drive(self, clients, servers=(), limit=300.0, sample=True, actions=(), done=None):
        """Watches clients until all have ended, or `done()` says so, or the limit. `actions` are
        (seconds, function) since the first client's start."""
        begin = clients[0].started
        waiting = {os.pidfd_open(client.pid): client for client in clients}
        due = sorted(actions, key=lambda action: action[0])
        poller = select.poll()
        for pidfd in waiting:
            poller.register(pidfd, select.POLLIN)
        try:
            while waiting and not (done and done()):
                now = time.perf_counter() - begin
                if now > limit:
                    return False
                while due and due[0][0] <= now:
                    due.pop(0)[1]()
                pause = 0.01 if done else 0.02 if sample else 1.0
                pause = min([pause, limit - now + 0.01] + [at - now for at, _ in due[:1]])
                for pidfd, _ in poller.poll(max(1, pause * 1000)):
                    waiting[pidfd].poll()
                    poller.unregister(pidfd)
                    os.close(pidfd)
                    del waiting[pidfd]
                if sample:
                    for process in (*clients, *servers):
                        process.sample()
            return True
        finally:
            for pidfd in waiting:
                os.close(pidfd)

    def foreign_time(self):
        """CPU seconds so far of all programs but this one, those that it keeps, and the kernel's own threads."""
        ours = {0, os.getpgrp(), *(process.pid for process in self.processes)}
        return sum(sum(spent) for group, spent in _cpu_of_groups().items() if group not in ours)

    def was_disturbed(self, foreign_before, wall):
        """Whether others used more than a twentieth of a core meanwhile."""
        return self.foreign_time() - foreign_before > 0.05 + 0.05 * wall

    def run(self, argv, namespace=None, servers=(), limit=300.0, sample=True, actions=()):
        """One client process from its start to its end, with what it cost on both sides."""
        prime(self.primed)
        foreign = self.foreign_time()
        before = [sum(server.cpu()) for server in servers]
        client = self.start(argv, namespace)
        in_time = self.drive([client], servers, limit, sample, actions)
        if not in_time:
            client.kill()
        run = Run(wall=client.ended - client.started, ok=client.poll() == 0)
        run.disturbed = self.was_disturbed(foreign, run.wall)
        run.client_cpu = client.usage.ru_utime + client.usage.ru_stime
        run.server_cpu = sum(sum(server.cpu()) for server in servers) - sum(before)
        run.client_peak = client.peak
        run.server_peak = max([server.peak for server in servers], default=0)
        if not run.ok:
            run.note = client.last_words() if in_time else f"not within {limit:.0f} s"
        self.forget(client)
        return run

    def rounds(self, contenders, runs=None, quiet=True):
        """Every contender once a round: {name: function that gives a Run} to {name: [Run]}."""
        contenders = {name: run for name, run in contenders.items() if not ONLY or name in ONLY}
        results = {name: [] for name in contenders}
        for number in range(runs or RUNS):
            for name, run in contenders.items():
                results[name].append(self._one(run, quiet and QUIET > 0))
                last = results[name][-1]
                say(f"  {number + 1} {name}: {last.wall:.3f} s{'' if last.ok else ' FAILED ' + last.note}"
                    f"{' disturbed' if last.disturbed else ''}")
        return results

    @staticmethod
    def _one(run, quiet):
        for left in (2, 1, 0) if quiet else (0,):
            if quiet:
                wait_until_quiet()
            try:
                got = run()
            except (OSError, RuntimeError) as error:
                got = Run(note=str(error)[:300])
            if left == 0 or not got.disturbed:
                return got


# ------------------------------------------------------------------ files

def emptied(folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def same(one, other):
    """Whether two files have the same bytes."""
    if not os.path.isfile(other) or os.path.getsize(one) != os.path.getsize(other):
        return False
    piece = min(MIB, os.path.getsize(one) + 1)
    a, b = bytearray(piece), bytearray(piece)
    with open(one, "rb", buffering=0) as first, open(other, "rb", buffering=0) as second:
        while True:
            got = first.readinto(a)
            if got != second.readinto(b) or memoryview(a)[:got] != memoryview(b)[:got]:
                return False
            if not got:
                return True


def file_names(folder):
    """Sorted names of all files below a folder, relative to it."""
    return sorted(os.path.relpath(os.path.join(at, name), folder)
                  for at, _, names in os.walk(folder) for name in names)


def same_folders(one, other):
    """Whether two folders hold files of the same names and bytes, and no others."""
    names = file_names(one)
    return names == file_names(other) and all(
        same(os.path.join(one, name), os.path.join(other, name)) for name in names)


def verified(run, wanted, received):
    """The run, failed if the received file is not the wanted one."""
    if run.ok and not same(wanted, received):
        run.ok, run.note = False, "the received file differs"
    return run


# ------------------------------------------------------------------ tables

def middle(values, digits=2):
    """median [min–max]"""
    values = list(values)
    if not values:
        return "–"
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}–{max(values):.{digits}f}]"


def good(runs):
    return [run for run in runs if run.ok]


def of(runs, value, digits=2):
    """A cell: the median of that value over the runs that worked."""
    return middle((value(run) for run in good(runs)), digits)


def against(results, name, base, value=lambda run: run.wall):
    """A cell: the median of the round-by-round ratios of two contenders."""
    pairs = zip(results.get(name, ()), results.get(base, ()))
    return middle(value(one) / value(other) for one, other in pairs if one.ok and other.ok)


def count(runs):
    """A cell: how many runs there were, and what was wrong with some."""
    failed, disturbed = len(runs) - len(good(runs)), sum(run.disturbed for run in good(runs))
    return f"{len(runs)}" + (f", {failed} failed" if failed else "") + (f", {disturbed} disturbed" if disturbed else "")


def table(title, head, rows):
    """A Markdown table on stdout."""
    print(f"\n### {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")
    print(flush=True)


def print_failures(results):
    for name, runs in results.items():
        notes = {run.note for run in runs if not run.ok}
        if notes:
            print(f"failed: {name}: {'; '.join(sorted(notes))}", flush=True)


def print_surroundings(bench, *programs):
    """One paragraph: on what this was measured."""
    model = next((line.split(":", 1)[1].strip() for line in _read("/proc/cpuinfo").splitlines()
                  if line.startswith("model name")), platform.machine())
    memory = int(_read("/proc/meminfo").split()[1]) / MIB
    versions = "; ".join(filter(None, map(version, programs)))
    cc = bench.congestion_control
    if cc != CC:
        cc += f" ({CC} could not be set here)"
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores ({model}), {memory:.0f} GiB, "
          f"Linux {platform.release()}; TCP congestion control {cc}; {versions}", flush=True)


def version(program):
    """Name and version of a program; one that is not a program is taken for just that."""
    with contextlib.suppress(OSError):
        flag = "-v" if os.path.basename(program) == "nginx" else "--version"
        asked = subprocess.run([program, flag], capture_output=True, text=True)
        number = re.search(r"\d+(\.\d+)+", asked.stdout or asked.stderr)
        return f"{os.path.basename(program)} {number[0]}" if number else ""
    return program if " " in program else ""
