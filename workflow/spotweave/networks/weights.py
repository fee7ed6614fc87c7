"""Where the weights of a row are, a file or the hub and its cache; held against their SHA-256 before opening."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import huggingface_hub.errors
import requests

from spotweave.io import file_hash
from spotweave.networks.spec import EncoderSpec, EncoderUnavailable

HUB_TIMEOUT_S = 5.0
# In the order of preference; the second is a pickle, read with weights_only.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
RERUN = "run again with --forcerun embed_patches finetune_encoder, which tries refused encoders anew"


def weights_path(spec: EncoderSpec, folder: Path | None) -> Path | None:
    """The file with the weights, fetched from the hub where the row says so; None for random weights.

    A file whose SHA-256 is not the row's is not opened.

    Parameters
    ----------
    folder
        Where a relative `source` of weights = file lies; None is the working folder.

    Raises
    ------
    EncoderUnavailable
        If there is no such file here, or it is another one than the row says.
    """
    if spec.weights == "random":
        return None
    if spec.weights == "file":
        return _checked(spec, _local_file(spec, folder))
    if spec.weights == "hub":
        return _checked(spec, _hub_file(spec))
    raise ValueError(f"encoder {spec.encoder}: weights {spec.weights!r}, a network allows: hub, random, file")


def _checked(spec: EncoderSpec, path: Path) -> Path:
    if not spec.sha256:
        return path
    found = file_hash(path)
    if found != spec.sha256:
        raise EncoderUnavailable(
            spec.encoder,
            f"{path} has the SHA-256 {found}, expected is {spec.sha256}.",
            ["get the file again, or correct the column sha256 of the encoder table", RERUN],
        )
    return path


def _local_file(spec: EncoderSpec, folder: Path | None) -> Path:
    path = (folder or Path()) / spec.source
    if not path.is_file():
        raise EncoderUnavailable(
            spec.encoder,
            f"no file {path}.",
            [f"put its weights (safetensors, or a torch state dict) at {path}", RERUN],
        )
    return path


def _hub_file(spec: EncoderSpec) -> Path:
    revision = spec.revision or None
    for name in HUB_FILES:
        # What is here is used as it is: a run does not depend on what the hub holds today.
        cached = huggingface_hub.try_to_load_from_cache(
            spec.source, name, revision=revision, cache_dir=huggingface_hub.constants.HF_HUB_CACHE
        )
        if isinstance(cached, str):
            return Path(cached)
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        problem = f"{spec.source} is not in the local cache, and HF_HUB_OFFLINE is set."
        raise EncoderUnavailable(spec.encoder, problem, _hub_steps(spec, gated=spec.gated))
    if not _hub_answers():
        # The network is the world's trouble, not the encoder's: the job fails and the next run tries again.
        raise ConnectionError(
            f"the hub cannot be reached for the weights of {spec.encoder} ({spec.source}). Run again with network,"
            " or set HF_HUB_OFFLINE=1 to have the encoder listed as unavailable and the others ranked"
        )
    for name in HUB_FILES:
        try:
            return Path(
                huggingface_hub.hf_hub_download(
                    spec.source,
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
            raise EncoderUnavailable(spec.encoder, problem, _hub_steps(spec, gated=True)) from error
        except (huggingface_hub.errors.RepositoryNotFoundError, huggingface_hub.errors.RevisionNotFoundError) as error:
            problem = f"the hub has no {spec.source} at {spec.revision or 'main'} for this user."
            raise EncoderUnavailable(spec.encoder, problem, _hub_steps(spec, gated=spec.gated)) from error
    problem = f"{spec.source} holds none of {', '.join(HUB_FILES)}."
    raise EncoderUnavailable(spec.encoder, problem, _hub_steps(spec, gated=False)[-2:])


def _hub_answers() -> bool:
    """One short question before the hub's client, which would try again for half a minute."""
    try:
        requests.head(huggingface_hub.constants.ENDPOINT, timeout=HUB_TIMEOUT_S)
    except requests.RequestException:
        return False
    return True


def _hub_steps(spec: EncoderSpec, *, gated: bool) -> list[str]:
    steps = []
    if gated:
        steps = [
            f"accept the licence ({spec.licence or 'see the page'}) at https://huggingface.co/{spec.source}",
            "make a read token at https://huggingface.co/settings/tokens and put it into HF_TOKEN",
        ]
    revision = f" --revision {spec.revision}" if spec.revision else ""
    return [
        *steps,
        f"on a machine with network run: hf download {spec.source}{revision} (HF_HUB_OFFLINE unset, HF_HOME on a "
        "shared disk where compute nodes are offline)",
        "or give the encoder's row weights=file and the path of a safetensors or state-dict file as source",
        RERUN,
    ]
