"""Local files: used where they lie, never copied and never changed."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

from spotweave.errors import Refusal
from spotweave.transfer.content import HEAD_BYTES, check_head, check_whole
from spotweave.transfer.digests import check, digest_file
from spotweave.transfer.files import Fetched, FetchSettings, Listed, Listing, Wanted
from spotweave.transfer.local import files_below, local_path

ACCESSION = r"\S(.*\S)?"
EXAMPLE = "/data/visium/section-1/outs"
LOOK_AT = "the notes of whoever made the folder"


def list_files(accession: str, settings: FetchSettings) -> Listing:
    """All files of a folder, at any depth and behind links, sorted; nothing is said of their bytes."""
    folder = local_path(accession)
    if not folder.is_dir():
        raise Refusal(f"{accession}: there is no such folder; correct the path in the row")
    paths, notes = files_below(folder)
    files = tuple(Listed(path.relative_to(folder).as_posix(), str(path)) for path in paths)
    return Listing(accession, files, notes=tuple(notes))


def fetch(wanted: Wanted, folder: Path, settings: FetchSettings) -> Fetched:
    """Verify one file in place; `folder` and `settings` are not used.

    The location is a path (absolute, or relative to the working directory), may start with `~`, or is a `file://` URL.

    Raises
    ------
    Refusal
        It is missing, not a regular file, not readable, empty, not of the kind its name says, or not the row's.
    """
    label = f"{wanted.role}: {wanted.location}"
    path = local_path(wanted.location)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise Refusal(f"{label}: not a file; give the path of one file")
        with open(path, "rb") as handle:
            head = handle.read(HEAD_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise Refusal(f"{label}: there is no such file; correct the path in the row") from None
    except PermissionError:
        raise Refusal(f"{label}: may not be read; change its permissions") from None
    except (OSError, ValueError) as error:  # a name too long for any file, a link in a circle, a NUL
        if getattr(error, "errno", None) not in (errno.ENAMETOOLONG, errno.ELOOP, None):
            raise
        said = getattr(error, "strerror", None) or error
        raise Refusal(f"{label}: names no file ({said}); correct the path in the row") from None
    check_head(label, path.name, head)
    digests = digest_file(path, wanted.checksum)
    check(label, wanted.checksum, digests.found)
    if not wanted.checksum.has_hash:
        check_whole(label, path, path.name)
    return Fetched(path, path.name, digests.size, digests.sha256)
