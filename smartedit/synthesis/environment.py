"""What a run is made with: the versions that its results may depend on."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "smartedit",
    "numpy",
    "pillow",
    "opencv-python",
    "torch",
    "transformers",
    "diffusers",
    "groundingdino-py",
    "segment-anything",
    "pyarrow",
    "prefect",
)


def environment() -> dict[str, str]:
    """Versions of Python, the platform and the packages that are installed."""
    found = {"python": sys.version.split()[0], "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
