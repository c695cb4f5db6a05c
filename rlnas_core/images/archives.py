"""The image files of a directory or archive, by name and content."""

import os
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath

from rlnas_core.images.facts import FACTS

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
TRAIN_FOLDERS = ("train", "training")
TEST_FOLDERS = ("test", "testing", "val", "valid", "validation")  # in any case
_ENCRYPTED = 1  # the bit in a zip entry's flags


def contents(
    path: Path, wanted: Collection[str] | None = None, read: bool = True
) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of the image files of a directory or archive, of all or those with `wanted` names.

    Nothing is extracted to disk. The bytes are empty for an unreadable file, and for all files if `read` is
    false. Raises ValueError for a path that is neither a directory nor a readable archive, and for an
    encrypted entry.
    """

    def takes(name: str) -> bool:
        return _is_image(name) and (wanted is None or name in wanted)

    try:
        if path.is_dir():
            for file in _files_below(path):
                if takes(name := file.relative_to(path).as_posix()):
                    yield name, _bytes(file.read_bytes) if read else b""
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    name = entry.filename.replace("\\", "/")  # of Windows PowerShell's Compress-Archive
                    if takes(name) and not entry.is_dir():
                        if entry.flag_bits & _ENCRYPTED:
                            raise ValueError(f"{name} is encrypted; give an archive without a password")
                        yield name, _bytes(partial(archive.read, entry)) if read else b""
        else:
            with tarfile.open(path, "r|*") as stream:
                for member in stream:
                    if not takes(member.name):
                        continue
                    if member.issym() or member.islnk():
                        raise ValueError(f"{member.name} is a link; give an archive without links")
                    if (content := stream.extractfile(member)) is not None:
                        with closing(content):
                            yield member.name, content.read() if read else b""
    except Exception as error:  # the four compressions raise different errors
        raise ValueError(
            f"{path} is neither a folder nor a readable .zip or .tar archive: {error}"
        ) from error


def source_files(source: str, path: Path) -> list[Path]:
    """What a dataset is read from in the directory `path`: its published files, or all `directories`.

    Other files may be beside the published ones, in a directory of several datasets.
    """
    published = [path / name for name in FACTS[source].files] if source in FACTS else []
    return [file for file in published if file.exists()] or directories(path)


def directories(path: Path, above: frozenset[Path] = frozenset()) -> list[Path]:
    """A directory of images with all directories in it, but for hidden ones; an archive alone.

    Links to a directory of `above`, or to one that contains them, are left out.
    """
    if not path.is_dir():
        return [path]
    above |= {path.resolve()}
    with os.scandir(path) as entries:  # faster than a call for each of a million images
        inner = sorted(Path(entry.path) for entry in entries if not _is_hidden(entry.name) and entry.is_dir())
    inner = [entry for entry in inner if entry.resolve() not in above]
    splits = [entry for entry in inner if entry.name.lower() in (*TRAIN_FOLDERS, *TEST_FOLDERS)]
    # A directory with two links has no directories in it, unless the file system doesn't count them.
    deeper = [entry for entry in inner if len(inner) == 1 or entry in splits or entry.stat().st_nlink != 2]
    return [path, *inner, *(folder for entry in deeper for folder in directories(entry, above)[1:])]


def _files_below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Files and broken links; links to directories are followed, except to one that contains them."""
    above |= {folder.resolve()}
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            if entry.resolve() not in above:
                yield from _files_below(entry, above)
        elif entry.is_file() or not entry.exists():
            yield entry


def _bytes(read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except Exception:
        return b""


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not any(map(_is_hidden, path.parts))


def _is_hidden(part: str) -> bool:
    return part == "__MACOSX" or (part.startswith(".") and part != "..")
