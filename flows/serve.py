"""Serves every flow as a deployment `<flow>/default`: `python -m flows.serve`, and no pool or worker is needed."""

import argparse
import importlib
from typing import Any

import flows.quiet  # noqa: F401  (Prefect reads its settings when it is imported)

FLOWS: dict[str, str] = {
    "synth-data": "flows.synth_data:synth_data",
    "manifest": "flows.manifest:manifest",
    "benchmark": "flows.measure:measure",
    "train": "flows.train:train",
    "ablations": "flows.ablations:ablations",
}
"""The flows that are served: name and where it is defined."""


def load_flow(name: str) -> Any:
    """The flow of a name in `FLOWS`."""
    module, _, attribute = FLOWS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def main() -> None:
    """Serve the flows that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("flows", nargs="*", metavar="FLOW", help=f"some of {', '.join(FLOWS)}; all if none is given")
    names = parser.parse_args().flows or list(FLOWS)
    unknown = [name for name in names if name not in FLOWS]
    if unknown:
        parser.error(f"no flow {unknown[0]!r}; there are {', '.join(FLOWS)}")

    from prefect import serve

    serve(*(load_flow(name).to_deployment("default") for name in names))


if __name__ == "__main__":
    main()
