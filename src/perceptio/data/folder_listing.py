"""Lists a folder once, sorted into what may be a sample and what is not."""

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from perceptio.data.failures import as_file_error
from perceptio.data.limits import Limits
from perceptio.data.names import bytewise, is_ignored, is_not_a_sample, printable, suffix_of
from perceptio.errors import DataError, FileError

_TEXTURES = frozenset({".png", ".jpg", ".jpeg", ".tga", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".dds", ".ktx2"})


@dataclass
class Listing:
    """What lies below a folder. Names are relative to it, with "/"."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    num_ignored: int = 0
    not_samples: list[str] = field(default_factory=list)
    linked_folders: list[str] = field(default_factory=list)

    def inside(self, folder: str) -> list[str]:
        """The folders directly inside the given one ("" for the root)."""
        return [name for name in self.folders if _parent(name) == folder]


def list_folder(root: Path, limits: Limits, asked: Collection[str] = ()) -> Listing:
    """Lists everything below a folder. Links to folders are not followed: they could lead out, or in circles.

    Args:
        asked: suffixes of the kinds of files that are asked for; empty: none is.

    Raises:
        DataError: a folder may not be read, or there are more files than the limits allow.
    """
    listing = Listing()
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    if is_ignored(entry.name):
                        listing.num_ignored += 1
                    elif entry.is_dir(follow_symlinks=False):
                        listing.folders.append(name)
                        waiting.append(name)
                    elif entry.is_symlink() and entry.is_dir():
                        listing.linked_folders.append(name)
                    elif is_not_a_sample(entry.name, asked):
                        listing.not_samples.append(name)
                    else:
                        listing.files.append(name)
                        _check_number(listing, root, limits)
        except OSError as error:
            reason: FileError = as_file_error(error)
            raise DataError(f"{printable(folder or str(root))}/ {reason}") from error
    _set_aside_parts_of_meshes(listing)
    return listing


def _check_number(listing: Listing, root: Path, limits: Limits) -> None:
    if len(listing.files) > limits.max_manifest_rows:
        raise DataError(
            f"{root.name}/ holds more than {limits.max_manifest_rows:,} files (--source.limits.max-manifest-rows)"
        )


def _set_aside_parts_of_meshes(listing: Listing) -> None:
    """Takes pictures beside an .obj and its .mtl, and pictures and .bin beside a .gltf, for parts of the meshes.

    Taken for samples they would be a second kind of file, or spoil a set of good meshes: exporters write them always.
    """
    with_obj = {_parent(name) for name in listing.files if suffix_of(name) == ".obj"}
    with_materials = with_obj & {_parent(name) for name in listing.not_samples if suffix_of(name) == ".mtl"}
    with_gltf = {_parent(name) for name in listing.files if suffix_of(name) == ".gltf"}
    if not with_materials and not with_gltf:
        return
    parts = {
        name
        for name in listing.files
        if (suffix_of(name) in _TEXTURES and _parent(name) in with_materials | with_gltf)
        or (suffix_of(name) == ".bin" and _parent(name) in with_gltf)
    }
    listing.files = [name for name in listing.files if name not in parts]
    listing.not_samples += sorted(parts, key=bytewise)


def _parent(name: str) -> str:
    return name.rpartition("/")[0]
