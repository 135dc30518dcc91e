"""The job that fetches a base model from the Hugging Face Hub.

Run as ``python -m studio.registry.download_job <job directory>``. Only safetensors, configurations and
tokenizer files at the top of the repository are fetched, at one commit. It does not check what the
weights are worth, and a gated repository needs a token in the environment (``HF_TOKEN``).
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core import InvalidInput, NotFound, StudioError, Unavailable
from studio.jobs.child import JobContext
from studio.registry.folders import MODEL_FILES, inspect_base, publish
from studio.registry.staging import run_job


@dataclass(frozen=True)
class Pinned:
    """A repository at one commit; ``licence`` is what its card says, empty where it says nothing."""

    repository: str
    commit: str
    licence: str


def pin(repository: str, revision: str) -> Pinned:
    """Resolve a branch or tag to its commit, and see that safetensors are there.

    Raises:
        NotFound: There is no such repository or revision, or no right to see it.
        InvalidInput: The repository has no safetensors.
        Unavailable: The Hub does not answer.
    """
    from httpx2 import HTTPError  # what huggingface_hub lets through when nothing answers
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = HfApi().model_info(repository, revision=revision)
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise NotFound(
            f"The Hub has no model {repository!r} at revision {revision!r}, or it is private.",
            "Check the id (organisation/name) and the revision; for a private or gated model set HF_TOKEN.",
        ) from error
    except (HTTPError, OSError) as error:
        raise _unreachable(error) from error
    names = [file.rfilename for file in info.siblings or []]
    if not any(name.endswith(".safetensors") and "/" not in name for name in names):
        raise InvalidInput(
            f"{repository} has no safetensors files at its top.",
            "Take a repository or revision that has them: pickled weights are not loaded.",
        )
    licence = info.card_data.get("license") if info.card_data else None
    return Pinned(repository, str(info.sha), str(licence or ""))


def fetch(pinned: Pinned, folder: Path) -> None:
    """Download the model files of a commit into ``folder``.

    Raises:
        Unavailable: The Hub does not answer, or refuses.
    """
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(
            pinned.repository,
            revision=pinned.commit,
            local_dir=folder,
            allow_patterns=list(MODEL_FILES),
            ignore_patterns=["*/*"],
        )
    except (HTTPError, OSError) as error:
        raise _unreachable(error) from error
    # The client's own notes on what it fetched, of no use in a folder that never changes.
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _unreachable(error: Exception) -> StudioError:
    return Unavailable(
        f"The Hugging Face Hub cannot be reached or refused: {str(error).strip()[:300]}",
        "Check the network (and HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN), or register a local folder.",
    )


def _work(context: JobContext, target: Path, scratch: Path) -> dict[str, Any]:
    context.progress("Asking the Hub for the model", 0, 3)
    pinned = pin(str(context.payload["repository"]), str(context.payload["revision"]))
    context.progress("Downloading", 1, 3)
    fetch(pinned, scratch)
    context.progress("Checking the files", 2, 3)
    facts = inspect_base(scratch)
    publish(scratch, target)
    return {
        "path": str(target),
        "digest": facts.digest,
        "parameters": facts.parameters,
        "licence": pinned.licence,
        "origin": f"Hugging Face Hub {pinned.repository} at {pinned.commit}",
    }


if __name__ == "__main__":
    sys.exit(run_job(Path(sys.argv[1]), _work))
