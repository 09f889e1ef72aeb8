"""Processes and what the kernel accounts to them: started, pinned, measured, ended by pid."""

import ctypes
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
ORIGIN = "origin.bench.example"  # the destination over TLS: a name that clients have no reason not to proxy
PR_SET_PDEATHSIG = 1
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 4096, 16384, 1 << 18
MAX_LOG = 64 << 20
_libc = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """The run cannot go on; the text says what and how to mend it."""


class NotOffered(BenchError):
    """This version of tokenhop cannot be set up for the scenario."""


def note(text):
    print(text, file=sys.stderr, flush=True)


def raise_file_limit(need):
    """Raises the limit of open files, which children inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < need:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (need, need))
            return need
        except (ValueError, OSError):
            pass
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def name_origin(directory):
    """From now on ORIGIN is 127.0.0.1, for this process and those that it starts, and for nobody else: by an
    /etc/hosts in a mount namespace of their own, so that no proxy needs a library or an option for it."""
    path = os.path.join(directory, "hosts")
    with open("/etc/hosts") as known, open(path, "w") as hosts:
        hosts.write(known.read() + f"\n127.0.0.1 {ORIGIN}\n")
    os.chmod(path, 0o644)

    def call(name, *args):
        if getattr(_libc, name)(*args) != 0:
            raise BenchError(f"no name for the destination could be made ({name}: {os.strerror(ctypes.get_errno())}): "
                             "run it as root")

    call("unshare", CLONE_NEWNS)
    call("mount", None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None)
    call("mount", path.encode(), b"/etc/hosts", None, ctypes.c_ulong(MS_BIND), None)


def install_missing(package_set, programs):
    """Installs that set of packages (deploy/install-packages) unless all the programs are there."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    if all(shutil.which(program, path=path) for program in programs):
        return
    done = subprocess.run([os.path.join(ROOT, "deploy/install-packages"), package_set],
                          stdout=sys.stderr, check=False)
    if done.returncode:
        raise BenchError(f"could not install {' and '.join(programs)}")


def find_program(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise BenchError(f"{name} is not installed")
    return path


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port, process, seconds):
    """Until something listens there, or the process has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        process.check_alive()
        with socket.socket() as s:
            s.settimeout(1)
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise BenchError(f"{process.name} does not listen on port {port} after {seconds} s; "
                     f"its output: {process.tail()}")


def get_json(port, path):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return json.load(answer)


class Process:
    """A child of ours. All that still run are ended, by pid, when the run ends however it ends."""

    running = []

    def __init__(self, name, argv, directory, cpus=None, stdout=None, stdin=None, pass_fds=()):
        self.name = name
        self.log_path = os.path.join(directory, name + ".log")

        def prepare():
            # Ended with us even if we are killed.
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            # A log that runs away ends its writer, not the disk.
            resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_LOG, MAX_LOG))
            if cpus:
                os.sched_setaffinity(0, cpus)

        env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(argv, stdout=stdout or log, stderr=log,
                                          stdin=stdin or subprocess.DEVNULL, preexec_fn=prepare,
                                          env=env, pass_fds=pass_fds, start_new_session=True)
        self.pid = self.popen.pid
        Process.running.append(self)

    def tail(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()[-2000:].strip() or "(none)"

    def check_alive(self):
        if self.popen.poll() is not None:
            raise BenchError(f"{self.name} ended with status {self.popen.returncode}; "
                             f"its output: {self.tail()}")

    def tree(self):
        """The pids of this process and its descendants."""
        pids = [self.pid]
        for pid in pids:
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children") as f:
                        pids.extend(int(p) for p in f.read().split())
            except OSError:
                pass
        return pids

    def cpu_ns(self):
        """CPU time used so far, by every thread of every process of the tree.

        /proc/PID/task/TID/schedstat counts nanoseconds where utime and stime of /proc/PID/stat count
        ticks of 10 ms. A thread that has ended is no longer there: none of the proxies ends one
        while it is measured."""
        total = 0
        for pid in self.tree():
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                    total += int(f.read().split()[0])
        return total

    def memory(self):
        """Bytes in memory, summed over the tree: {"pss", "rss", "anonymous"}."""
        sums = {"pss": 0, "rss": 0, "anonymous": 0}
        for pid in self.tree():
            with open(f"/proc/{pid}/smaps_rollup") as f:
                for line in f:
                    name = line.split(":")[0].lower()
                    if name in sums:
                        sums[name] += int(line.split()[1]) * 1024
        return sums

    def stop(self, seconds=10):
        if self not in Process.running:
            return
        Process.running.remove(self)
        pids = self.tree()
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                for pid in reversed(pids):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                self.popen.wait(5)

    @staticmethod
    def stop_all():
        for process in list(reversed(Process.running)):
            process.stop()


def cpu_sets(n_workers, pin):
    """(CPUs of the proxy, CPUs of everything else); None: wherever the kernel likes.

    With one worker the proxy has a CPU for itself, so that neither side's wake-ups move it about.
    With more workers than can be set apart nothing is pinned."""
    cpus = sorted(os.sched_getaffinity(0))
    if not pin or len(cpus) < 2 * n_workers:
        return None, None
    return set(cpus[-n_workers:]), set(cpus[:-n_workers])
