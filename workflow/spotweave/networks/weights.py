"""Where a model's weights are: a file, a package, the hub or its cache; held against their SHA-256 before opening."""

from __future__ import annotations

import importlib.metadata
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import huggingface_hub.errors
import requests
import safetensors

from spotweave.errors import Refusal
from spotweave.io import file_hash
from spotweave.networks.spec import EncoderSpec, EncoderUnavailable

# What reading a damaged or foreign file of weights, or filling a network with it, raises.
UNREADABLE = (
    RuntimeError,
    AttributeError,
    KeyError,
    ValueError,
    OSError,
    EOFError,
    pickle.UnpicklingError,
    safetensors.SafetensorError,
)
HUB_TIMEOUT_S = 5.0
# In the order of preference; the second is a pickle, read with weights_only.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
RERUN = "run again with --forcerun embed_patches finetune_encoder, which tries refused encoders anew"


@dataclass(frozen=True)
class Wanted:
    """Weights as a row or a configuration names them.

    Attributes
    ----------
    model
        What they are for, in words ("encoder uni").
    weights
        `file`, `package` or `hub`.
    source
        A path, the name of a package and the path in it, or owner/repository on the hub.
    revision, sha256
        Of the hub's repository or the package, and of the file; empty where not stated.
    files
        Names of the file on the hub, in the order of preference.
    licence, gated
        Of the hub's page.
    hash_at
        Where the SHA-256 is stated, for the message.
    instead
        How to say that a file is used instead of the hub.
    rerun
        What to type once the weights are there.
    unavailable
        Makes the refusal of a problem and the steps out of it.
    """

    model: str
    weights: str
    source: str
    revision: str
    sha256: str
    files: tuple[str, ...]
    licence: str
    gated: bool
    hash_at: str
    instead: str
    rerun: str
    unavailable: Callable[[str, Sequence[str]], Refusal]


def weights_path(spec: EncoderSpec, folder: Path | None) -> Path | None:
    """The file with the weights of an encoder; None for random weights. As `located`.

    Raises
    ------
    EncoderUnavailable
        If there is no such file here, or it is another one than the row says.
    """
    if spec.weights == "random":
        return None
    source, file = _hub_source(spec.source) if spec.weights == "hub" else (spec.source, "")
    wanted = Wanted(
        model=f"encoder {spec.encoder}",
        weights=spec.weights,
        source=source,
        revision=spec.revision,
        sha256=spec.sha256,
        files=(file,) if file else HUB_FILES,
        licence=spec.licence,
        gated=spec.gated,
        hash_at="the column sha256 of the encoder table",
        instead="give the encoder's row weights=file and the path of a safetensors or state-dict file as source",
        rerun=RERUN,
        unavailable=lambda problem, steps: EncoderUnavailable(spec.encoder, problem, steps),
    )
    return located(wanted, folder)


def misfit(spec: EncoderSpec, path: Path, error: Exception) -> EncoderUnavailable:
    """Why a file is not the weights of the row's architecture, in one line, and what to do."""
    detail = " ".join(str(error).split())[:300]
    return EncoderUnavailable(
        spec.encoder,
        f"{path.name} does not hold weights of {spec.architecture}({spec.arguments}): {detail}.",
        ["correct architecture, arguments or source in the encoder table, or get the file again", RERUN],
    )


def located(wanted: Wanted, folder: Path | None) -> Path:
    """The file with the weights, fetched from the hub where that is asked for.

    A file whose SHA-256 is not the stated one is not opened.

    Parameters
    ----------
    folder
        Where a relative `source` of weights = file lies; None is the working folder.

    Raises
    ------
    Refusal
        What `wanted.unavailable` makes, if there is no such file here, or it is another one than stated.
    ConnectionError
        If the hub cannot be reached: a failure, which the next run tries again.
    """
    if wanted.weights == "file":
        return _checked(wanted, _local_file(wanted, folder))
    if wanted.weights == "package":
        return _checked(wanted, _package_file(wanted))
    if wanted.weights == "hub":
        return _checked(wanted, _hub_file(wanted))
    raise ValueError(f"{wanted.model}: weights {wanted.weights!r}, a network allows: hub, random, file, package")


def _hub_source(source: str) -> tuple[str, str]:
    """Repository and file of `owner/repository/path/of/file`; the file is empty where none is named."""
    owner, repository, *file = source.split("/", 2)
    return f"{owner}/{repository}", "".join(file)


def _checked(wanted: Wanted, path: Path) -> Path:
    if not wanted.sha256:
        return path
    found = file_hash(path)
    if found != wanted.sha256:
        raise wanted.unavailable(
            f"{path} has the SHA-256 {found}, expected is {wanted.sha256}.",
            [f"get the file again, or correct {wanted.hash_at}", wanted.rerun],
        )
    return path


def _local_file(wanted: Wanted, folder: Path | None) -> Path:
    path = (folder or Path()) / wanted.source
    if not path.is_file():
        raise wanted.unavailable(
            f"no file {path}.", [f"put its weights (safetensors, or a torch state dict) at {path}", wanted.rerun]
        )
    return path


def _package_file(wanted: Wanted) -> Path:
    """The file where the package's own record has it: none of the package's code is run."""
    name, _, inside = wanted.source.partition("/")
    version = f"=={wanted.revision}" if wanted.revision else ""
    steps = [f"python -m pip install {name}{version}", wanted.rerun]
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise wanted.unavailable(f"the Python package {name} is not installed.", steps) from None
    path = Path(str(package.locate_file(inside)))
    if not path.is_file():
        raise wanted.unavailable(f"the Python package {name} {package.version} holds no {inside}.", steps)
    return path


def _hub_file(wanted: Wanted) -> Path:
    revision = wanted.revision or None
    for name in wanted.files:
        # What is here is used as it is: a run does not depend on what the hub holds today.
        cached = huggingface_hub.try_to_load_from_cache(
            wanted.source, name, revision=revision, cache_dir=huggingface_hub.constants.HF_HUB_CACHE
        )
        if isinstance(cached, str):
            return Path(cached)
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        problem = f"{wanted.source} is not in the local cache, and HF_HUB_OFFLINE is set."
        raise wanted.unavailable(problem, _hub_steps(wanted, gated=wanted.gated))
    if not _hub_answers():
        # The network is the world's trouble, not the model's: the job fails and the next run tries again.
        raise ConnectionError(
            f"the hub cannot be reached for the weights of {wanted.model} ({wanted.source}). Run again with network,"
            " or set HF_HUB_OFFLINE=1 to have it listed as unavailable"
        )
    for name in wanted.files:
        try:
            return Path(
                huggingface_hub.hf_hub_download(
                    wanted.source,
                    name,
                    revision=revision,
                    etag_timeout=HUB_TIMEOUT_S,
                    cache_dir=huggingface_hub.constants.HF_HUB_CACHE,
                )
            )
        except huggingface_hub.errors.RemoteEntryNotFoundError:
            continue
        except huggingface_hub.errors.GatedRepoError as error:
            problem = "its weights are gated, and no token with access was found."
            raise wanted.unavailable(problem, _hub_steps(wanted, gated=True)) from error
        except (huggingface_hub.errors.RepositoryNotFoundError, huggingface_hub.errors.RevisionNotFoundError) as error:
            problem = f"the hub has no {wanted.source} at {wanted.revision or 'main'} for this user."
            raise wanted.unavailable(problem, _hub_steps(wanted, gated=wanted.gated)) from error
    problem = f"{wanted.source} holds none of {', '.join(wanted.files)}."
    raise wanted.unavailable(problem, _hub_steps(wanted, gated=False)[-2:])


def _hub_answers() -> bool:
    """One short question before the hub's client, which would try again for half a minute."""
    try:
        requests.head(huggingface_hub.constants.ENDPOINT, timeout=HUB_TIMEOUT_S)
    except requests.RequestException:
        return False
    return True


def _hub_steps(wanted: Wanted, *, gated: bool) -> list[str]:
    steps = []
    if gated:
        steps = [
            f"accept the licence ({wanted.licence or 'see the page'}) at https://huggingface.co/{wanted.source}",
            "make a read token at https://huggingface.co/settings/tokens and put it into HF_TOKEN",
        ]
    which = f" {wanted.files[0]}" if len(wanted.files) == 1 else ""
    which += f" --revision {wanted.revision}" if wanted.revision else ""
    return [
        *steps,
        f"on a machine with network run: hf download {wanted.source}{which} (HF_HUB_OFFLINE unset, HF_HOME on a "
        "shared disk where compute nodes are offline)",
        f"or {wanted.instead}",
        wanted.rerun,
    ]
