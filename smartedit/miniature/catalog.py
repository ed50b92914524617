"""One picture of every kind, as a network sees it."""

from pathlib import Path

import numpy as np
from PIL import Image

from reason_edit.files import atomic_path
from smartedit.miniature.backdrops import PLACES
from smartedit.miniature.drawing import draw
from smartedit.miniature.kinds import KINDS
from smartedit.miniature.scenes import Backdrop, Scene, Thing


def write_catalog(out: Path, size: int = 64, zoom: int = 3, columns: int = 6) -> None:
    """Draw every kind twice, large and small, in two of its colors and before all backdrops in turn.

    Args:
        out: The picture to write; its suffix chooses the format.
        size: Pixels of the side that the scenes are drawn at.
        zoom: How many pixels of the sheet show one of them.
        columns: Kinds in a row.
    """
    views = [(wall, ground) for walls, grounds in PLACES.values() for wall in walls for ground in grounds]
    cells = []
    for number, (name, kind) in enumerate(KINDS.items()):
        wall, ground = views[number * 5 % len(views)]
        first, second = kind.colors[0], kind.colors[1 % len(kind.colors)]
        scene = Scene(
            backdrop=Backdrop(wall=wall, ground=ground, horizon=0.42, tint=number, seed=number),
            things=(
                Thing(kind=name, color=first, x=0.29, y=0.8, size=0.44),
                Thing(kind=name, color=second, x=0.75, y=0.93, size=0.34, flip=True),
            ),
        )
        cells.append(draw(scene, size).image)
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    sheet = np.vstack([np.hstack(cells[k : k + columns]) for k in range(0, len(cells), columns)])
    with atomic_path(out) as temporary:
        Image.fromarray(sheet.repeat(zoom, axis=0).repeat(zoom, axis=1)).save(temporary)
