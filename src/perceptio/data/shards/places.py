"""Where shards lie: on a disk."""

import io
from dataclasses import dataclass
from pathlib import Path

from perceptio.data.failures import as_file_error
from perceptio.data.items import open_window
from perceptio.data.shards.tar import BLOCK_BYTES, check_member_header
from perceptio.errors import FileError


@dataclass(frozen=True, slots=True)
class LocalShard:
    """A tar file on disk, as it was when it was indexed."""

    path: Path
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> "LocalShard":
        """Returns the shard at a path as it is now (OSError)."""
        status = path.stat()
        return cls(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @property
    def name(self) -> str:
        """Its file name."""
        return self.path.name

    @property
    def state(self) -> str:
        """When it was last changed; the second time cannot be set back, as `cp -p` and archives do with the first."""
        return f"{self.modified_ns} {self.changed_ns}"

    @property
    def version(self) -> str:
        """Path, size and times of the last change."""
        return "\0".join((str(self.path.absolute()), str(self.size), self.state))

    def open(self, offset: int, size: int, name: str) -> io.BufferedIOBase:
        """Opens a member in place, once its header has been seen to be there; raises as `items.Shard.open`."""
        try:
            whole = self.path.open("rb", buffering=0)
        except OSError as error:
            raise FileError(f"its shard {self.name}: {as_file_error(error)}") from error
        try:
            whole.seek(offset - BLOCK_BYTES)
            check_member_header(whole.read(BLOCK_BYTES), name, size)
        except BaseException:
            whole.close()
            raise
        return open_window(whole, offset, size, name)
