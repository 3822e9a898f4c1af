"""A disk in memory that remembers what was synced, and that can fail or crash at any call.

What it allows after a power loss is what a journaling file system may do: each file that was not synced is whole, lost
or garbled; of each folder's changes since its last sync the first few have happened and the rest have not. A kill
leaves everything as the calls so far made it.
"""

import errno
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from perceptio.disk import Disk

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE)


class Crash(BaseException):
    """The process is gone; nothing that it would do afterwards happens."""


@dataclass(eq=False)
class File:
    content: bytes = b""
    synced: bytes = b""


@dataclass(eq=False)
class Folder:
    names: dict[str, "File | Folder"] = field(default_factory=dict)
    synced: dict[str, "File | Folder"] = field(default_factory=dict)
    journal: list[dict[str, "File | Folder"]] = field(default_factory=list)
    """The names after each change since the last sync."""

    def changed(self) -> None:
        """Notes a change of names."""
        self.journal.append(dict(self.names))


@dataclass(frozen=True)
class Fault:
    """What goes wrong at which call: "kill", "power", "error", "lie" (done, but reported as failed) or "short"."""

    kind: str
    call: int


class CrashDisk(Disk):
    """See the module. `calls` counts what could fail; `fault` is what does; `struck` says that it has."""

    def __init__(self, seed: int = 0) -> None:
        self.root = Folder()
        self.random = np.random.default_rng(seed)
        self.fault: Fault | None = None
        self.calls = 0
        self.struck = False
        self.dead = False
        self.open_files: dict[int, File] = {}
        self.free = 10**9

    def arm(self, fault: Fault | None) -> None:
        """Counts calls from here on, and fails as asked."""
        self.fault, self.calls, self.struck, self.dead = fault, 0, False, False

    def restart(self) -> None:
        """Starts the machine again; after a power loss unsynced changes are kept or not."""
        if self.struck and self.fault is not None and self.fault.kind == "power":
            self.lose_power()
        self.open_files.clear()
        self.arm(None)

    def lose_power(self) -> None:
        """Keeps, drops or garbles what was not synced."""
        self._settle(self.root)

    def mkdir(self, folder: Path) -> None:
        with _Call(self):
            parent = self._folder(folder.parent)
            if folder.name in parent.names:
                raise FileExistsError(errno.EEXIST, "File exists", str(folder))
            parent.names[folder.name] = Folder()
            parent.changed()

    def create(self, path: Path) -> int:
        with _Call(self):
            parent = self._folder(path.parent)
            if path.name in parent.names:
                raise FileExistsError(errno.EEXIST, "File exists", str(path))
            file = parent.names[path.name] = File()
            parent.changed()
            number = len(self.open_files) + 3
            self.open_files[number] = file
        return number

    def write(self, file: int, content: memoryview) -> int:
        some = int(self.random.integers(1, len(content) + 1))
        with _Call(self) as call:
            # A crash or an error may come when some of it is written.
            size = some if call.strikes else len(content)
            self.open_files[file].content += bytes(content[:size])
        return size

    def sync(self, file: int) -> None:
        with _Call(self):
            self.open_files[file].synced = self.open_files[file].content

    def close(self, file: int) -> None:
        with _Call(self):
            pass

    def rename(self, source: Path, target: Path) -> None:
        with _Call(self):
            assert source.parent == target.parent, "moves between folders are not modelled"
            parent = self._folder(source.parent)
            if source.name not in parent.names:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(source))
            node, there = parent.names[source.name], parent.names.get(target.name)
            if isinstance(there, Folder) and there.names:
                raise OSError(errno.ENOTEMPTY, "Directory not empty", str(target))
            parent.names[target.name] = node
            del parent.names[source.name]
            parent.changed()

    def sync_folder(self, folder: Path) -> None:
        with _Call(self):
            found = self._folder(folder)
            found.synced, found.journal = dict(found.names), []

    def remove(self, path: Path) -> None:
        parent = self._folder(path.parent)
        node = parent.names[path.name]
        if isinstance(node, Folder):
            for name in self.random.permutation(sorted(node.names)):
                self.remove(path / str(name))
        with _Call(self):
            del parent.names[path.name]
            parent.changed()

    def exists(self, path: Path) -> bool:
        self._check_alive()
        return self._find(path) is not None

    def names(self, folder: Path) -> list[str]:
        self._check_alive()
        return sorted(self._folder(folder).names)

    def read(self, path: Path) -> bytes:
        self._check_alive()
        node = self._find(path)
        if not isinstance(node, File):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return node.content

    def free_bytes(self, folder: Path) -> int:
        self._check_alive()
        return self.free

    def _check_alive(self) -> None:
        if self.dead:
            raise Crash

    def _find(self, path: Path) -> "File | Folder | None":
        node: File | Folder | None = self.root
        for part in path.parts[1:]:
            node = node.names.get(part) if isinstance(node, Folder) else None
        return node

    def _folder(self, path: Path) -> Folder:
        node = self._find(path)
        if not isinstance(node, Folder):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return node

    def _settle(self, node: File | Folder) -> None:
        if isinstance(node, Folder):
            happened = int(self.random.integers(0, len(node.journal) + 1))
            node.names = dict(node.journal[happened - 1]) if happened else dict(node.synced)
            node.synced, node.journal = dict(node.names), []
            for child in node.names.values():
                self._settle(child)
            return
        if node.content != node.synced:
            kept = int(self.random.integers(3))
            node.content = (node.content, node.synced, self.random.bytes(len(node.content)))[kept]
        node.synced = node.content


class _Call:
    """One call that changes the disk: counts it, and strikes before or after it, if it is the one."""

    def __init__(self, disk: CrashDisk) -> None:
        self.disk = disk
        self.strikes = False

    def __enter__(self) -> "_Call":
        disk = self.disk
        disk._check_alive()
        disk.calls += 1
        fault = disk.fault
        self.strikes = fault is not None and fault.call == disk.calls
        if self.strikes:
            disk.struck = True
            if fault is not None and fault.kind in ("kill", "power", "error") and disk.random.integers(2):
                self._strike()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.strikes and kind is None:
            self._strike()

    def _strike(self) -> None:
        fault = self.disk.fault
        assert fault is not None
        if fault.kind in ("kill", "power"):
            self.disk.dead = True
            raise Crash
        if fault.kind in ("error", "lie"):
            code = int(self.disk.random.choice(ERRORS)) if fault.kind == "error" else errno.ENOENT
            raise OSError(code, "on purpose")
