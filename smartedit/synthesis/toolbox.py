"""The tools of a run: each built when it is first used, once a process."""

import threading
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from smartedit.config.synthesis import GrounderConfig, InpainterConfig
from smartedit.synthesis.exemplars import bank_of_run
from smartedit.synthesis.knowledge import Knowledge, read_knowledge
from smartedit.synthesis.run_folder import RunFolder
from smartedit.tools.annotations import AnnotatedPicture, CocoAnnotations, read_coco
from smartedit.tools.build import (
    build_clue_writer,
    build_grounder,
    build_inpainter,
    build_language_model,
    build_scorer,
    build_segmenter,
    build_writer,
)
from smartedit.tools.exemplar_inpainter import CutOut, ExemplarInpainter
from smartedit.tools.llm_writer import ClueWriter
from smartedit.tools.protocols import Inpainter


def ground_truth(folder: RunFolder) -> dict[str, AnnotatedPicture] | None:
    """The annotations of a run's pictures, by picture id."""
    path = folder.settings().config.pictures.annotations
    if path is None:
        return None
    annotated = read_coco(path)
    rows = folder.pictures()
    return {r.picture_id: annotated.get(r.original) or annotated[r.original.rpartition("/")[2]] for r in rows}


class Toolbox:
    """The tools of a run, each built when first used and kept for the life of the process.

    Args:
        folder: The run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self.config = folder.settings().config
        self.knowledge: Knowledge = read_knowledge(self.config.proposals.knowledge)
        self.annotated = ground_truth(folder)
        self._truth = CocoAnnotations(self.annotated) if self.annotated is not None else None
        self._built: dict[Any, Any] = {}
        self._lock = threading.RLock()
        self._stage_locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)

    def lock(self, stage: str) -> threading.RLock:
        """Held while a stage works with its models."""
        with self._lock:
            # Grounding and segmenting share the segmenter, proposing and scoring may share the grounder.
            shared = {"propose", "ground", "segment", "score"}
            if self.config.writer.extra_clues and self.config.writer.name == "transformers":
                shared.add("instruct")  # its model makes the clues of proposing up
            return self._stage_locks["models" if stage in shared else stage]

    def _once(self, key: Any, build: Callable[[], Any]) -> Any:
        with self._lock:
            if key not in self._built:
                self._built[key] = build()
            return self._built[key]

    def grounder(self, config: GrounderConfig) -> Any:
        """The grounder of a configuration."""
        return self._once(config, lambda: build_grounder(config, self._truth))

    def segmenter(self) -> Any:
        """The segmenter."""
        return self._once(self.config.segmenter, lambda: build_segmenter(self.config.segmenter, self._truth))

    def inpainter(self, config: InpainterConfig) -> Inpainter:
        """The inpainter of a configuration."""
        built: Inpainter = self._once(config, lambda: build_inpainter(config, self._bank()))
        return built

    def _bank(self) -> dict[str, list[CutOut]]:
        return bank_of_run(self._folder.root, self._folder.exemplars())

    def available(self) -> frozenset[str] | None:
        """The kinds that the replacer can draw; None for any."""
        if self.config.replacer.name != "exemplar":
            return None
        replacer = self.inpainter(self.config.replacer)
        assert isinstance(replacer, ExemplarInpainter)
        return replacer.kinds

    def writer(self) -> Any:
        """The writer."""
        cache = self._folder.root / "answers"
        return self._once(self.config.writer, lambda: build_writer(self.config.writer, cache, self._language_model))

    def clue_writer(self) -> ClueWriter | None:
        """What makes further clues up, or None."""
        cache = self._folder.root / "answers"
        built: ClueWriter | None = self._once(
            "clues", lambda: build_clue_writer(self.config.writer, cache, self._language_model)
        )
        return built

    def _language_model(self) -> Any:
        """One model for instructions and clues."""
        return self._once("language model", lambda: build_language_model(self.config.writer))

    def scorer(self) -> Any:
        """CLIP, or None."""
        return self._once(self.config.scorer, lambda: build_scorer(self.config.scorer))

    def regrounder(self) -> Any:
        """The detector that looks at targets, or None."""
        config = self.config.scorer.regrounder
        return self.grounder(config) if config is not None else None


_BUILDING = threading.Lock()
"""Held while a toolbox is looked up: a cache alone lets threads that miss at once build one each."""


@lru_cache(maxsize=2)
def _toolbox(root: str, stamp: int) -> Toolbox:
    del stamp
    return Toolbox(RunFolder(root))


def toolbox(root: Path) -> Toolbox:
    """The tools of a run folder, built once a process and again only when its settings file changes."""
    resolved = root.resolve()
    with _BUILDING:
        return _toolbox(str(resolved), (resolved / "config.json").stat().st_mtime_ns)
