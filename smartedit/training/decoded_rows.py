"""Rows of a manifest in the endless order of a mixture, decoded; each process opens its own files."""

import os
from typing import Any

from smartedit.data.decoding import DecodedExample, Decoder, DecodingRules, Visit
from smartedit.data.examples import TrainingExample
from smartedit.data.manifest import Manifest
from smartedit.data.mixture import Mixture
from smartedit.data.row_access import RowAccess


class DecodedRows:
    """The pictures and requests at the positions of an order.

    A position is a visit: which row stands there, and which instruction, colour and crop are drawn, follows from the
    position and the row's id. It can be sent to workers by fork and by pickling.
    """

    def __init__(self, manifest: Manifest, mixture: Mixture, rules: DecodingRules) -> None:
        """Open rows.

        Args:
            manifest: The rows.
            mixture: Their order.
            rules: How pictures are decoded.
        """
        self.manifest = manifest
        self.mixture = mixture
        self.rules = rules
        self._opened: tuple[int, RowAccess, Decoder] | None = None
        self._open()  # writes the copy of the rows before there are workers

    def __getitem__(self, position: int) -> tuple[TrainingExample, DecodedExample]:
        """The row at a position.

        Raises:
            DecodingError: A picture cannot be read.
        """
        access, decoder = self._open()
        example = access[int(self.mixture.rows([position])[0])]
        return example, decoder.decode(example, Visit(number=position))

    def _open(self) -> tuple[RowAccess, Decoder]:
        """The files of this process."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (
                os.getpid(),
                RowAccess(self.manifest, self.mixture.names),
                Decoder.of(self.manifest, self.rules),
            )
        return self._opened[1:]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None, "manifest": (self.manifest.path, self.manifest.data_root)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        path, data_root = state["manifest"]
        self.__dict__.update(state, manifest=Manifest(path, data_root=data_root))
