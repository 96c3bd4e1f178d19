"""``predict`` on the user's own files: faces followed, tables and overlays written as it goes."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback

from callbacks.checkpoints import read_checkpoint
from callbacks.own_files.about import About, asked, digest
from callbacks.own_files.overlays import OverlayVideo, draw_faces, save_image
from callbacks.own_files.progress import FileProgress
from callbacks.own_files.stills import StillsTable
from callbacks.own_files.tables import LandmarkTable
from callbacks.ranks import from_all_ranks
from callbacks.result_names import result_stem
from callbacks.run_folder import RunFolder, counted, note
from callbacks.trained_settings import Changed
from datamodules.markup import MARKUPS
from lightning_modules.video.filters import Filter
from lightning_modules.video.following import Face, Follower


class FilePredictions(Callback):
    """Writes what is found in the user's own files below ``predictions/<stem>/``, or where ``--data.out`` says.

    - ``NAME.csv`` for each video and ``images.csv`` for all photographs: `LandmarkTable`. Several processes share out
      the files; each writes the tables of its own videos, and a part of the photographs' (`StillsTable`).
    - ``NAME_overlay.mp4`` and ``NAME_overlay.jpg``: the landmarks drawn over them.
    - ``about.json``: `About`, so that nothing is continued with other files or weights.

    Memory does not grow with the length of a video. What an interruption leaves is continued by the same command; the
    overlay of a video that broke off is drawn again from its table.

    Args:
        run: the run's folder.
        changed: what is done otherwise than in training (`result_changes`).
        smoothing: a filter on the landmarks of videos, or None.
        checkpoint: the weights; None where they are untrained. The trainer does not know them yet when it sets up.
    """

    def __init__(self, run: RunFolder, changed: Changed, smoothing: Filter | None, checkpoint: str | None) -> None:
        self.run, self.changed, self.smoothing, self.checkpoint = run, changed, smoothing, checkpoint
        self.frames = self.faces = 0
        self.running = False
        self.unread: list[str] = []  # sentences on files of which nothing could be read

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Find what was written before; the frames that are left are read from then on."""
        data = trainer.datamodule
        stored = read_checkpoint(Path(self.checkpoint)) if self.checkpoint else {}
        stem = result_stem(self.run, data, self.checkpoint, stored.get("input_size"), self.changed)
        self.folder = Path(data.out or self.run.path / "predictions" / stem)
        smoothing = self.smoothing.title if self.smoothing else None
        made_with = {**asked(data), "weights": digest(self.checkpoint), "smoothing": smoothing}
        about = About(self.folder, made_with, "--data.out")
        rank, ranks, stills = trainer.global_rank, trainer.world_size, {s.name for s in data.sources if s.still}
        self.stills = StillsTable(self.folder, data.table, pl_module.num_landmarks)
        if trainer.is_global_zero:
            self.stills.join(stills)
        trainer.strategy.barrier()
        tables = {
            source.name: LandmarkTable(self.folder / f"{source.name}.{data.table}", pl_module.num_landmarks)
            for source in data.sources
            if not source.still
        }
        done = self.stills.found() | {name for name, table in tables.items() if table.path.is_file()}
        left = [source for source in data.sources if source.name not in done]
        before, files = len(data.sources) - len(left), len(data.sources)
        data.sources, part = left, self.stills.part(rank, ranks)
        own = data.share()
        self.tables = {source.name: part if source.still else tables[source.name] for source in own}
        for source in own:
            if not source.still:
                data.done |= self.tables[source.name].begun()
        about.check(data.files, done | {name for name, frames in data.done.items() if frames})
        if before:
            plain = [s for s in data.files if data.overlays and s.name in done and not self._overlay(s).is_file()]
            without = f", {len(plain)} without overlays (drawn where another folder is --data.out)" if plain else ""
            note(f"{before} of {files} files were predicted before and are in {self.folder}{without}")
        if trainer.is_global_zero:
            about.write(data.files)
        self.left = Counter(table.path for table in self.tables.values())
        self.bar = FileProgress(len(own), bool(trainer.progress_bar_callback) and trainer.is_global_zero)

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        """Get ready to follow faces."""
        data = trainer.datamodule
        for name in data.left_out:
            note(f"{name} is neither an image nor a video and is left out")
        if trainer.progress_bar_callback:
            trainer.progress_bar_callback.disable()  # it counts items, of which a camera has no number
        markup = MARKUPS.get(pl_module.markup or "")
        self.edges = markup.edges if markup else ()
        detector = data.detector()  # of this process, which looks again where a face is in doubt
        look = None if detector is None else lambda image: detector(image).boxes
        self.follower = Follower(pl_module, data.convention, data.size, self.smoothing, detector=look)
        if pl_module.box_margins and self.follower.finder.margins is None and data.boxes is None:
            note(
                f"crops are drawn about landmarks, as box {data.box} says, without the margins of the training's boxes"
            )
        self.source = ""  # of which a frame was read last
        self.overlay: OverlayVideo | None = None
        self.before: Any = iter(())
        self.last: list[Face] = []
        self.known, self.running = 0, True
        self.bar.start()

    def on_predict_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A frame, or the end of a file."""
        if batch.last:
            self._end(batch)
            return
        if batch.number == 0:
            self._begin(batch)
        self.follower.seconds, image = batch.seconds, batch.pixels.numpy()
        if batch.number < trainer.datamodule.done.get(batch.source.name, 0):
            _, faces = next(self.before, (0, []))
            self.last, self.known = faces, max([self.known, *(face.identity + 1 for face in faces)])
            if batch.number + 1 == trainer.datamodule.done[batch.source.name]:
                self.follower.resume(self.last, self.known)
        else:
            with trainer.precision_plugin.predict_step_context():
                faces = self._found(batch, image)
            self.tables[batch.source.name].open()
            self.tables[batch.source.name].write(batch.source.name, batch.number, batch.seconds, faces)
            self.frames, self.faces = self.frames + 1, self.faces + len(faces)
        if trainer.datamodule.overlays:
            self._draw(batch, image, faces)
        self.bar.frame(len(faces))

    def _begin(self, batch: Any) -> None:
        """The first frame of a file."""
        self.source = batch.source.name
        self.follower.restart()
        self.before, self.last, self.known = self.tables[self.source].faces(self.source), [], 0
        self.bar.begin(self.source, batch.source.still, batch.expected)

    def _found(self, batch: Any, image: Any) -> list[Face]:
        given, still = batch.given, batch.source.still
        if still:
            boxes = batch.detected if given is None else given.box
            faces = self.follower.alone(image, boxes) if given is None else self.follower.alone(image, boxes, refined=0)
            names = given and given.face
            return [f._replace(identity=n) for f, n in zip(faces, names, strict=True)] if names else faces
        if given is not None:
            return self.follower.given(image, given.box, given.face)
        return self.follower(image, batch.detected)

    def _draw(self, batch: Any, image: Any, faces: list[Face]) -> None:
        drawn = draw_faces(image, faces, self.edges)
        if batch.source.still:
            save_image(self._overlay(batch.source), drawn)
            return
        if self.overlay is None:
            self.overlay = OverlayVideo(self._overlay(batch.source))
        self.overlay.write(drawn, batch.seconds)

    def _overlay(self, source: Any) -> Path:
        return self.folder / f"{source.name}_overlay.{'jpg' if source.still else 'mp4'}"

    def _end(self, batch: Any) -> None:
        """The end of a file."""
        name, table = batch.source.name, self.tables[batch.source.name]
        if self.overlay:
            self.overlay.close(finished=True)
            self.overlay = None
        if batch.trouble:  # whichever process has the file
            print(f"note: {batch.trouble}", file=sys.stderr, flush=True)
        if name != self.source:
            self.unread.append(batch.trouble)
        self.bar.end()
        self.left[table.path] -= 1
        if not self.left[table.path]:
            table.close(finished=True)

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        """Say what there is.

        Raises:
            ValueError: some files could not be read; the others are done.
        """
        live = trainer.datamodule.live
        limited = bool(+self.left) and not live  # by trainer.limit_predict_batches
        self._stop(finished=live)
        counts = np.sum(from_all_ranks([(self.frames, self.faces)]), axis=0).tolist()
        unread = from_all_ranks(self.unread)  # from here on no process writes
        if trainer.world_size > 1 and trainer.is_global_zero:
            self.stills.join(set())
        if trainer.is_global_zero and counts[1]:
            more = "; without the limit on batches the same command continues" if limited else ""
            found = f"{counted(counts[1], 'face')} in {counted(counts[0], 'frame')}"
            note(f"landmarks of {found} are in {self.folder}{more}")
        elif trainer.is_global_zero and counts[0]:
            smaller = "" if self.follower.detector is None else " (--data.long_side 1280 finds smaller ones)"
            note(f"no face is found in {counted(counts[0], 'frame')}{smaller}; what there is is in {self.folder}")
        if unread and trainer.is_global_zero:
            first = "" if len(unread) == 1 else "; the first"
            raise ValueError(f"{counted(len(unread), 'file')} could not be read{first}: {unread[0]}")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Keep what is written, to be continued; of a camera it is all there is."""
        if not self.running:
            return
        live = trainer.datamodule.live
        self._stop(finished=live)
        if self.frames:
            done = counted(self.frames, "frame")
            note(f"{done} done, in {self.folder}{'' if live else '; the same command continues'}")

    def _stop(self, finished: bool) -> None:
        """Close what is open still."""
        self.bar.stop()
        self.running = False
        if self.overlay:
            self.overlay.close(finished)
        for table in {table for table in self.tables.values() if self.left[table.path]}:
            table.close(finished)
