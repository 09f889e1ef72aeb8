"""The board of a process whose calls of libraries can fail (faults.h), seen from outside of it."""

import collections
import mmap
import pathlib
import struct
import subprocess

HEADER = ("is_armed", "nth", "at_site", "lasts", "thread", "n_calls", "n_failed", "row", "site", "n_rows")
ROWS_MAX, NAME_LEN, ROW_LEN = 512, 48, 64
SITES_MAX = 1 << 16
ROWS_AT = 8 * len(HEADER)
SITES_AT = ROWS_AT + ROWS_MAX * ROW_LEN
SIZE = SITES_AT + 4 * SITES_MAX

Failed = collections.namedtuple("Failed", "name site")


class Board:
    """`env` makes a process use it, whether it runs already or not. Counts by function stay from one process to the next."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.write_bytes(bytes(SIZE))
        with self.path.open("r+b") as file:
            self.memory = mmap.mmap(file.fileno(), SIZE)

    @property
    def env(self):
        return {"TH_FAULT_BOARD": str(self.path)}

    def get(self, name):
        return struct.unpack_from("<Q", self.memory, 8 * HEADER.index(name))[0]

    def set(self, name, value):
        struct.pack_into("<Q", self.memory, 8 * HEADER.index(name), value)

    def arm(self, nth=0, at_site=0, lasts=False):
        """Of the calls from now on the nth fails, or the first at that place; without either they are counted."""
        self.disarm()
        plan = {"nth": nth, "at_site": at_site, "lasts": int(lasts), "thread": 0, "n_calls": 0, "n_failed": 0, "row": 0, "site": 0}
        for name, value in plan.items():
            self.set(name, value)
        self.set("is_armed", 1)

    def disarm(self):
        self.set("is_armed", 0)

    @property
    def failed(self):
        """The call that failed last since it was armed; None: none has."""
        row = self.get("row")
        return Failed(self.name(row - 1), self.get("site")) if row > 0 else None

    def name(self, index):
        at = ROWS_AT + index * ROW_LEN
        return self.memory[at : at + NAME_LEN].split(b"\0")[0].decode()

    def rows(self):
        """[(function, calls, failed)]"""
        return [
            (self.name(i), *struct.unpack_from("<QQ", self.memory, ROWS_AT + i * ROW_LEN + NAME_LEN))
            for i in range(self.get("n_rows"))
        ]

    def sites(self):
        """Where each call was made since it was armed."""
        n = min(self.get("n_calls"), SITES_MAX)
        return list(struct.unpack_from(f"<{n}I", self.memory, SITES_AT))


def place(program, site):
    """`site` as function and line."""
    words = ["addr2line", "-i", "-f", "-s", "-p", "-e", program, hex(site - 1)]
    return subprocess.run(words, capture_output=True, text=True).stdout.strip().replace("\n", "")
