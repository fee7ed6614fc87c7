"""Small publishers on 127.0.0.1 that answer in the JSON of the real ones.

Each `put_…` places one deposit and says where its listing and its files are, as paths on the server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from test_sources_archives import Publisher

CONTENTS = {
    "B1.tsv": b"gene\tB1\nGAPDH\t7\n",
    "B1.csv": b"x,y\n1,2\n",
    "C1.csv": b"x,y\n3,4\n5,6\n",
}
FOLDERS = {f"S{i}/spots.csv": b"x,y\n%d,9\n" % i for i in (1, 2)}


@dataclass
class Put:
    """A deposit on the server: paths of its listing, and of each file by name."""

    accession: str
    listing: str
    paths: dict[str, str] = field(default_factory=dict)
    contents: Mapping[str, bytes] = field(default_factory=dict)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put_zenodo(server: Publisher, contents: Mapping[str, bytes] = CONTENTS, number: int = 4751624) -> Put:
    """A record of InvenioRDM, as `/api/records/<number>` shows it."""
    server.stands_for("https://zenodo.org/", "zenodo")
    base = f"zenodo/api/records/{number}"
    put = Put(str(number), base, contents=contents)
    files = []
    for i, (name, content) in enumerate(contents.items()):
        put.paths[name] = f"{base}/files/{quote(name, safe='')}/content"
        server.put(put.paths[name], content)
        files.append(
            {
                "id": f"{i:08d}-0000-4000-8000-000000000000",
                "key": name,
                "size": len(content),
                "checksum": f"md5:{md5(content)}",
                "links": {"self": f"https://zenodo.org/api/records/{number}/files/{name}/content"},
            }
        )
    about = {
        "title": "Spatial deconvolution",
        "access_right": "open",
        "license": {"id": "cc-by-4.0"},
        "doi": f"10.5281/zenodo.{number}",
    }
    record = {"id": number, "conceptrecid": str(number - 1), "metadata": about, "files": files, "state": "done"}
    server.says(base, record)
    return put


def figshare_files(contents: Mapping[str, bytes]) -> list[dict[str, Any]]:
    return [
        {
            "id": 31621547 + i,
            "name": name.rpartition("/")[2],
            "size": len(content),
            "is_link_only": False,
            "download_url": f"https://ndownloader.figshare.com/files/{31621547 + i}",
            "supplied_md5": "",
            "computed_md5": md5(content),
            "mimetype": "text/plain",
        }
        for i, (name, content) in enumerate(contents.items())
    ]


def put_figshare(server: Publisher, contents: Mapping[str, bytes] = CONTENTS, **more: Any) -> Put:
    """Version 2, the newest, of an article; at most ten of its files are in the description itself."""
    server.stands_for("https://api.figshare.com/", "figshare")
    base = "figshare/v2/articles/17087765"
    put = Put("17087765/versions/2", f"{base}/versions/2", contents=contents)
    files = figshare_files(contents)
    for file, (name, content) in zip(files, contents.items(), strict=True):
        put.paths[name] = f"figshare/v2/file/download/{file['id']}"
        server.put(put.paths[name], content)
    article = {
        "id": 17087765,
        "version": 2,
        "title": "Sections of a heart",
        "doi": "10.6084/m9.figshare.17087765.v2",
        "license": {"value": 1, "name": "CC BY 4.0", "url": "https://creativecommons.org/licenses/by/4.0/"},
        "is_embargoed": False,
        "files": files[:10],
        "folder_structure": {
            str(file["id"]): name.rpartition("/")[0] for file, name in zip(files, contents, strict=True) if "/" in name
        },
        **more,
    }
    server.says(base, article)
    server.says(f"{base}/versions/2", article)

    def page(question: dict[str, str]) -> list[dict[str, Any]]:
        size = int(question.get("page_size", 10))
        start = (int(question.get("page", 1)) - 1) * size
        return files[start : start + size]

    server.says(f"{base}/versions/2/files", page)
    return put


def put_mendeley(server: Publisher, contents: Mapping[str, bytes] = CONTENTS) -> Put:
    """A dataset whose folders are the folders of the names."""
    server.stands_for("https://data.mendeley.com/", "mendeley")
    base = "mendeley/public-api/datasets/svw96g68dv"
    put = Put("svw96g68dv/5", f"{base}/folders/5", contents=contents)
    folders: dict[str, dict[str, Any]] = {}
    files: dict[str, list[dict[str, Any]]] = {"root": []}
    for i, (name, content) in enumerate(contents.items()):
        parent = "root"
        parts = name.split("/")
        for depth in range(1, len(parts)):
            path = "/".join(parts[:depth])
            above = None if depth == 1 else parent
            folders.setdefault(path, {"id": f"folder-{path}", "name": parts[depth - 1], "parent_id": above})
            parent = folders[path]["id"]
        put.paths[name] = f"mendeley/public-files/datasets/svw96g68dv/files/{i}/file_downloaded"
        server.put(put.paths[name], content)
        details = {
            "id": f"content-{i}",
            "sha256_hash": sha256(content),
            "content_type": "text/plain",
            "size": len(content),
            "created_date": "2022-06-01T00:00:00.000Z",
            "download_url": f"https://data.mendeley.com/{put.paths[name].removeprefix('mendeley/')}",
        }
        entry = {"id": f"file-{i}", "filename": parts[-1], "size": len(content), "content_details": details}
        files.setdefault(parent, []).append({**entry, "status": "COMPLETED"})

    def page(question: dict[str, str]) -> list[dict[str, Any]]:
        start = int(question.get("$start", 0))
        return files.get(question["folder_id"], [])[start : start + int(question.get("$limit", 1000))]

    server.says(f"{base}/folders/5", list(folders.values()))
    server.says(f"{base}/files", page)
    licence = {"id": "1", "short_name": "CC BY 4.0", "full_name": "Creative Commons Attribution 4.0 International"}
    server.says(f"{base}/snapshot/5", {"id": "svw96g68dv", "version": 5, "name": "Prostate", "licence": licence})
    return put


def put_dryad(server: Publisher, contents: Mapping[str, bytes] = CONTENTS) -> Put:
    """The newest version, 2, of a dataset; pages are linked by `next`, as a whole address."""
    server.stands_for("https://datadryad.org/", "dryad")
    doi = "10.5061/dryad.x0k6djhmx"
    base = f"dryad/api/v2/datasets/{quote('doi:' + doi, safe='')}"
    put = Put(doi, base, contents=contents)
    files = []
    for i, (name, content) in enumerate(contents.items()):
        put.paths[name] = f"dryad/api/v2/files/{i}/download"
        server.put(put.paths[name], content)
        links = {"self": {"href": f"/api/v2/files/{i}"}, "stash:download": {"href": f"/api/v2/files/{i}/download"}}
        file = {"path": name, "size": len(content), "mimeType": "text/csv", "status": "created", "_links": links}
        files.append({**file, "digestType": "sha-256", "digest": sha256(content)})
    server.says(
        base,
        {
            "identifier": f"doi:{doi}",
            "id": 64736,
            "title": "Tumour sections",
            "license": "https://spdx.org/licenses/CC0-1.0.html",
            "_links": {"self": {"href": f"/{base}"}, "stash:version": {"href": "/api/v2/versions/77"}},
        },
    )
    put_pages(server, "dryad/api/v2/versions/77/files", "stash:files", files)
    put_pages(server, "dryad/api/v2/versions/70/files", "stash:files", files[:1])
    versions = [
        {"versionNumber": n, "versionStatus": "submitted", "_links": {"self": {"href": f"/api/v2/versions/{version}"}}}
        for n, version in ((1, 70), (2, 77))
    ]
    put_pages(server, f"{base}/versions", "stash:versions", versions)
    return put


def put_pages(server: Publisher, path: str, kind: str, items: Sequence[Any], most: int = 2) -> None:
    """A list in pages of HAL, each with the address of the next."""

    def page(question: dict[str, str]) -> dict[str, Any]:
        number = int(question.get("page", 1))
        shown = items[(number - 1) * most : number * most]
        address = f"https://datadryad.org/{path.removeprefix('dryad/')}"
        links = {"next": {"href": f"{address}?page={number + 1}"}} if number * most < len(items) else {}
        return {"_links": links, "count": len(shown), "total": len(items), "_embedded": {kind: list(shown)}}

    server.says(path, page)


def put_biostudies(server: Publisher, contents: Mapping[str, bytes] = CONTENTS) -> Put:
    """A study: five files a page unless asked for more, sizes as text; a folder is one entry."""
    server.stands_for("https://www.ebi.ac.uk/", "ebi")
    base = "ebi/biostudies"
    put = Put("E-MTAB-11114", f"{base}/api/v1/files/E-MTAB-11114", contents=contents)
    rows: list[dict[str, Any]] = [{"Name": "thumbnails", "Size": "0", "path": "thumbnails", "type": "directory"}]
    for name, content in contents.items():
        put.paths[name] = f"{base}/files/E-MTAB-11114/{quote(name)}"
        server.put(put.paths[name], content)
        row = {"Name": name.rpartition("/")[2], "Size": str(len(content)), "Description": "", "path": name}
        rows.append({**row, "type": "file"})

    def page(question: dict[str, str]) -> dict[str, Any]:
        start, length = int(question.get("start", 0)), int(question.get("length", 5))
        shown = rows[start : start + length]
        return {"draw": 1, "recordsTotal": len(contents), "recordsFiltered": len(rows), "data": shown}

    server.says(put.listing, page)
    attributes = [{"name": "Title", "value": "Developing heart"}, {"name": "ReleaseDate", "value": "2023-01-01"}]
    section = {"type": "Study", "attributes": [{"name": "License", "value": "CC BY 4.0"}]}
    study = {"accno": "E-MTAB-11114", "attributes": attributes, "section": section, "type": "submission"}
    server.says(f"{base}/api/v1/studies/E-MTAB-11114", study)
    return put


PUBLISHERS: dict[str, Callable[..., Put]] = {
    "biostudies": put_biostudies,
    "dryad": put_dryad,
    "figshare": put_figshare,
    "mendeley": put_mendeley,
    "zenodo": put_zenodo,
}
