"""Packages that only some commands need: which extra brings each, and what is said where it is not installed."""

import importlib
import importlib.util
import sys
from types import ModuleType

from malsori.errors import MissingExtraError

#: Module → the extra of malsori that installs it (pyproject.toml).
EXTRAS = {
    "av": "ffmpeg",
    "boto3": "s3",
    "botocore": "s3",
    "espeakng_loader": "espeak",
    "fastapi": "serve",
    "fastapi_offline": "serve",
    "jinja2": "studio",
    "lhotse": "train",
    "koreanize_matplotlib": "report",
    "matplotlib": "report",
    "numba": "train",
    "onnx": "export",
    "parselmouth": "praat",
    "prometheus_client": "serve",
    "pyarrow": "parquet",
    "ray": "cluster",
    "ray.serve": "replicas",
    "pydantic_settings": "serve",
    "python_multipart": "serve",
    "starlette": "serve",
    "sounddevice": "play",
    "speechmos": "mos",
    "tensorboard": "tensorboard",
    "torch": "train",
    "uroman": "mms",
    "uvicorn": "serve",
}


def import_extra(module: str, purpose: str) -> ModuleType:
    """Return a module that an extra brings.

    Args:
        module: a key of EXTRAS.
        purpose: what needs it, as the message begins: "Praat's pitch".
    Raises: MissingExtraError saying what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing_extra(module, purpose) from error


def require(module: str, purpose: str) -> None:
    """Make sure, before long work begins, that a module which an extra brings is there; it is not imported.

    Raises: MissingExtraError as `import_extra`.
    """
    if sys.modules.get(module, module) is None or importlib.util.find_spec(module) is None:
        raise missing_extra(module, purpose)


def missing_extra(module: str, purpose: str) -> MissingExtraError:
    """Return the error that says which extra of malsori brings a module."""
    return MissingExtraError(
        f"{purpose} needs {module}, which is not installed; install it with: pip install 'malsori[{EXTRAS[module]}]'"
    )
