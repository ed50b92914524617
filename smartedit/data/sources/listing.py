"""Which pictures a folder holds, however a record writes their names."""

import os
from pathlib import Path

from smartedit.data.examples import Reason
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import file_names, inside


class Listing:
    """A folder of pictures, listed once."""

    def __init__(self, pictures: Path) -> None:
        self.pictures = pictures
        self._names = file_names(pictures)

    def resolve(self, name: str) -> str:
        """The picture's path below the folder: as written, or its bare name (`coco/train2017/x.jpg` -> `x.jpg`).

        Raises:
            FaultyRecordError: The name leaves the folder, or there is no such picture.
        """
        path = inside(self.pictures, name)
        if path.parent != self.pictures and os.path.isfile(path):
            return path.relative_to(self.pictures).as_posix()
        if path.name not in self._names:
            raise FaultyRecordError(Reason.MISSING_IMAGE, f"{name} is not in the picture folder")
        return path.name
