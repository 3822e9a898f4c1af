"""Fetches a Debian package, checks that it is the one that results were measured on, and unpacks what is wanted.

Needs apt-get and dpkg-deb, no root. Packages and unpacked files stay in a cache folder, so that it may be run again;
then the unpacked files are compared with the list of their digests that was written with them.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from listed_files import LIST, damaged_files, read_list, sha256_of, write_list


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package, and the SHA-256 of the version that the results in docs/results were measured on."""

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


DRUMKITS = Package(
    name="hydrogen-drumkits",
    version="2017.09.19~dfsg-1",
    sha256="6ea3c6df9a67762e2362f946c695e619859126b19fbccf32a2e8f07dfd03b2f4",
)
PARTS = Package(
    name="kicad-packages3d",
    version="6.0.10-1",
    sha256="e4ee3179c3935885a262e41543a675208ad5b3077d348728cac46f534d01109a",
)
FASHION = Package(
    name="dataset-fashion-mnist",
    version="0.0~git20200523.55506a9-1",
    sha256="39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
)
STAMPS = Package(
    name="tuxpaint-stamps-default",
    version="2022.06.04-1",
    sha256="6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
)


def cache_folder() -> Path:
    """Returns where packages are kept: below XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perceptio" / "packages"


def fetch(package: Package, *, patterns: tuple[str, ...] = (), file: Path | None = None) -> Path:
    """Returns the folder into which the package is unpacked.

    Args:
        patterns: shell patterns of the paths to unpack, such as "*.wrl"; empty: everything.
        file: the .deb, where one has it already; None: it is downloaded with apt-get.
    """
    unpacked = cache_folder() / f"{package.name}_{package.version}"
    if (unpacked / LIST).is_file():
        _, listed = read_list(unpacked)
        damaged = damaged_files(unpacked, listed)
        if not damaged:
            return unpacked
        print(
            f"{len(damaged):,} of {len(listed):,} files in {unpacked} are missing or damaged, and the package is "
            f"unpacked anew (first: {damaged[0]})",
            file=sys.stderr,
        )
    archive = file or _download(package)
    found = sha256_of(archive)
    if found != package.sha256:
        sys.exit(
            f"{archive} is not version {package.version} of {package.name}: its SHA-256 is {found}, expected "
            f"{package.sha256}. Give the right file with --package."
        )
    partial = unpacked.with_name(f"{unpacked.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    wanted = ["--wildcards", *patterns] if patterns else []
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as source:
        subprocess.run(["tar", "-x", "-C", str(partial), *wanted], stdin=source.stdout, check=True)
    names = sorted(str(path.relative_to(partial)) for path in partial.rglob("*") if path.is_file())
    write_list(partial, f"files of {package}", {name: sha256_of(partial / name) for name in names})
    shutil.rmtree(unpacked, ignore_errors=True)
    partial.rename(unpacked)
    return unpacked


def _download(package: Package) -> Path:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    known = sorted(folder.glob(f"{package.name}_*.deb"))
    if not known:
        print(f"downloading {package.name} {package.version} ..", file=sys.stderr)
        done = subprocess.run(["apt-get", "download", f"{package.name}={package.version}"], cwd=folder, check=False)
        if done.returncode:
            wanted = f"{package.name}={package.version}"
            sys.exit(f"apt-get download {wanted} failed; get the .deb by hand and give it with --package")
        known = sorted(folder.glob(f"{package.name}_*.deb"))
    return known[-1]
