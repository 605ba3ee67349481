"""Parameters in files: ``.npz`` without torch, ``.pt`` and ``.pth`` with it; written whole or not at all."""

import io
import os
import secrets
import zipfile
from pathlib import Path

import numpy as np

from graphopt.errors import ModelError, OutputError
from graphopt_torch.modules import state_of

__all__ = ["read_state", "write_state", "write_whole"]

_TORCH = (".pt", ".pth")
_INSTALL = "pip install torch, or use an .npz file"


def write_whole(path, content, *, force=False):
    """Write bytes to a file that ends up there whole or not at all; returns the path.

    Raises:
        OutputError: if it exists and may not be replaced, or can't be written.
    """
    place = Path(path)
    if place.exists() and not force:
        raise OutputError(f"{str(place)!r} exists already; choose another path, or allow it to be replaced (--force)")
    draft = place.with_name(f".{place.name[:40]}.{secrets.token_hex(6)}.tmp")
    try:
        draft.write_bytes(content)
        os.replace(draft, place)
    except OSError as err:
        raise OutputError(f"{str(place)!r} cannot be written: {err.strerror or err}; choose another path") from err
    finally:
        draft.unlink(missing_ok=True)
    return place


def read_state(path):
    """Arrays by name from an ``.npz`` file, or from what ``torch.save`` made of a state dict; nothing in it is run.

    Raises:
        ModelError: if it can't be read, or holds something else.
    """
    where = f"parameters {str(path)!r}"
    try:
        if Path(path).suffix in _TORCH:
            torch = _torch(where)
            found = torch.load(path, map_location="cpu", weights_only=True)
            found = found.get("state_dict", found) if isinstance(found, dict) else found
            if not isinstance(found, dict) or not all(map(torch.is_tensor, found.values())):
                raise ModelError(f"{where} is no state dict; save module.state_dict()")
            return state_of(found)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except OSError as err:
        raise ModelError(f"{where} cannot be read: {err.strerror or err}; check the path") from err
    except (ValueError, KeyError, AttributeError, EOFError, RuntimeError, zipfile.BadZipFile, _unpickling()) as err:
        reason = " ".join(str(err).split())
        raise ModelError(
            f"{where} is not understood: {reason:.200}; save module.state_dict(), or arrays as .npz"
        ) from err


def write_state(path, state, *, force=False):
    """Write arrays by name, as :func:`read_state` reads them; returns the path."""
    content = io.BytesIO()
    if Path(path).suffix in _TORCH:
        torch = _torch(f"parameters {str(path)!r}")
        torch.save({name: torch.as_tensor(np.array(array)) for name, array in state.items()}, content)
    else:
        np.savez(content, **state)
    return write_whole(path, content.getvalue(), force=force)


def _torch(where):
    try:
        import torch
    except ImportError as err:
        raise ModelError(f"{where} needs torch, which is not installed; {_INSTALL}") from err
    return torch


def _unpickling():
    import pickle  # only for the class of the error

    return pickle.UnpicklingError
