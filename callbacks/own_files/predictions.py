"""``predict`` on the user's own files: faces followed, tables and overlays written as it goes."""

import json
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from callbacks.arguments import UsageError
from callbacks.checkpoints import read_checkpoint
from callbacks.own_files.overlays import OverlayVideo, draw_faces, save_image
from callbacks.own_files.tables import LandmarkTable
from callbacks.ranks import from_all_ranks
from callbacks.result_names import result_stem
from callbacks.run_folder import RunFolder, note
from callbacks.trained_settings import Changed
from datamodules.markup import MARKUPS
from lightning_modules.video.filters import Filter
from lightning_modules.video.following import Face, Follower

ABOUT = "about.json"


class FilePredictions(Callback):
    """Writes what is found in the user's own files below ``predictions/<stem>/``, or where ``--data.out`` says.

    - ``NAME.csv`` for each video and ``images.csv`` for all photographs: `LandmarkTable`.
    - ``NAME_overlay.mp4`` and ``NAME_overlay.jpg``: the landmarks drawn over them.
    - ``about.json``: the files and the weights, so that nothing is continued with others.

    Memory does not grow with the length of a video. What an interruption leaves is continued by the same command; the
    overlay of a video that broke off is drawn again from its table.

    Args:
        run: the run's folder.
        changed: what is done otherwise than in training (`result_changes`).
        smoothing: a filter on the landmarks of videos, or None.
    """

    def __init__(self, run: RunFolder, changed: Changed, smoothing: Filter | None) -> None:
        self.run, self.changed, self.smoothing = run, changed, smoothing
        self.frames = self.faces = 0
        self.unread: list[str] = []  # sentences on files of which nothing could be read

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Find what was written before; the frames that are left are read from then on."""
        data = trainer.datamodule
        stored = read_checkpoint(Path(trainer.ckpt_path)) if trainer.ckpt_path else {}
        stem = result_stem(self.run, data, trainer.ckpt_path, stored.get("input_size"), self.changed)
        self.folder = Path(data.out or self.run.path / "predictions" / stem)
        self._check_about(trainer)
        trainer.strategy.barrier()
        (rank, ranks), count = (trainer.global_rank, trainer.world_size), pl_module.num_landmarks
        stills = f"images{'' if ranks == 1 else f'-{rank}'}.{data.table}"
        self.tables = {
            source.name: LandmarkTable(self.folder / (stills if source.still else f"{source.name}.{data.table}"), count)
            for source in data.sources
        }
        shared: dict[Path, LandmarkTable] = {}
        for name, table in self.tables.items():
            self.tables[name] = shared.setdefault(table.path, table)
        for table in shared.values():
            table.reopen({name for name, own in self.tables.items() if own is table})
        finished = {name for name, table in self.tables.items() if table.path.is_file()}
        if finished:
            note(f"{len(finished)} of {len(data.sources)} files were predicted before and are in {self.folder}")
        begun: dict[str, int] = {}
        for table in shared.values():
            begun |= table.begun()
        data.sources = [
            source
            for source in data.sources
            if source.name not in finished and not (source.still and source.name in begun)
        ]
        data.done |= begun
        self.left = {path: [s.name for s in data.sources if self.tables[s.name].path == path] for path in shared}

    def _check_about(self, trainer: Any) -> None:
        """Refuse to continue with other files or weights."""
        data, path = trainer.datamodule, self.folder / ABOUT
        weights = "none"
        if trainer.ckpt_path:
            with Path(trainer.ckpt_path).open("rb") as file:
                weights = file_digest(file, "blake2b").hexdigest()[:32]
        smoothing = self.smoothing.title if self.smoothing else None
        about = {"path": str(Path(data.path).absolute()), "weights": weights, "smoothing": smoothing}
        about |= {"boxes": data.boxes and str(data.boxes), "box": data.box, "size": data.size}
        about |= {key: getattr(data, key) for key in ("every", "threshold", "long_side")}
        if path.is_file():
            before = json.loads(path.read_text())
            other = [key for key in about if before.get(key) != about[key]]
            if other:
                raise UsageError(
                    f"{self.folder} holds predictions with another {other[0]} ({before.get(other[0])}, now "
                    f"{about[other[0]]}); delete it, or give another folder as --data.out"
                )
        elif trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(about, indent=1))

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        """Get ready to follow faces."""
        data = trainer.datamodule
        for name in data.left_out:
            note(f"{name} is neither an image nor a video and is left out")
        if trainer.progress_bar_callback:
            trainer.progress_bar_callback.disable()  # it counts items, of which a camera has no number
        markup = MARKUPS.get(pl_module.markup or "")
        self.edges = markup.edges if markup else ()
        self.follower = Follower(pl_module, data.convention, data.size, self.smoothing)
        self.source = ""  # of which a frame was read last
        self.overlay: OverlayVideo | None = None
        self.before: Any = iter(())
        self.last: list[Face] = []
        self.known = 0
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn())
        shown = bool(trainer.progress_bar_callback) and trainer.is_global_zero
        self.bar = Progress(
            *columns, TextColumn("{task.fields[faces]} faces"), TimeRemainingColumn(), disable=not shown
        )
        self.bar.start()
        self.tasks: dict[str, Any] = {}
        self.task: Any = None

    def on_predict_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A frame, or the end of a file."""
        if batch.last:
            self._end(batch)
            return
        if batch.number == 0:
            self._begin(trainer, batch)
        image = batch.pixels.numpy()
        if batch.number < trainer.datamodule.done.get(batch.source.name, 0):
            _, faces = next(self.before, (0, []))
            self.last, self.known = faces, max([self.known, *(face.identity + 1 for face in faces)])
            if batch.number + 1 == trainer.datamodule.done[batch.source.name]:
                self.follower.resume(self.last, self.known)
        else:
            with trainer.precision_plugin.predict_step_context():
                faces = self._found(batch, image)
            self.tables[batch.source.name].write(batch.source.name, batch.number, batch.seconds, faces)
            self.frames, self.faces = self.frames + 1, self.faces + len(faces)
        if trainer.datamodule.overlays:
            self._draw(batch, image, faces)
        self.bar.update(self.task, advance=1, faces=len(faces))

    def _begin(self, trainer: Any, batch: Any) -> None:
        """The first frame of a file."""
        source = batch.source
        self.source, table = source.name, self.tables[source.name]
        table.open()
        self.follower.rate = batch.rate
        self.follower.restart()
        self.before, self.last, self.known = table.faces(source.name), [], 0
        title, stills = "images" if source.still else source.name, sum(s.still for s in trainer.datamodule.sources)
        if title not in self.tasks:
            total = (stills if source.still else batch.expected) or None
            self.tasks[title] = self.bar.add_task(title, total=total, faces=0)
        self.task = self.tasks[title]

    def _found(self, batch: Any, image: Any) -> list[Face]:
        given, still = batch.given, batch.source.still
        if still:
            boxes = batch.detected if given is None else given.box
            faces = self.follower.alone(image, boxes) if given is None else self.follower.alone(image, boxes, refined=0)
            return faces if given is None else [f._replace(identity=n) for f, n in zip(faces, given.face, strict=True)]
        if given is not None:
            return self.follower.given(image, given.box, given.face)
        return self.follower(image, batch.detected)

    def _draw(self, batch: Any, image: Any, faces: list[Face]) -> None:
        drawn = draw_faces(image, faces, self.edges)
        path = self.folder / batch.source.name
        if batch.source.still:
            save_image(path.with_name(f"{path.name}_overlay.jpg"), drawn)
            return
        if self.overlay is None:
            self.overlay = OverlayVideo(path.with_name(f"{path.name}_overlay.mp4"))
        self.overlay.write(drawn, batch.seconds)

    def _end(self, batch: Any) -> None:
        """The end of a file."""
        name, table = batch.source.name, self.tables[batch.source.name]
        if self.overlay:
            self.overlay.close(finished=True)
            self.overlay = None
        if batch.trouble:
            note(batch.trouble)
        if name != self.source:
            self.unread.append(batch.trouble)
        waiting = self.left[table.path]
        waiting.remove(name)
        if not waiting:
            table.close(finished=True)

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        """Say what there is.

        Raises:
            ValueError: some files could not be read; the others are done.
        """
        self.bar.stop()
        counts = np.sum(from_all_ranks([(self.frames, self.faces)]), axis=0).tolist()
        unread = from_all_ranks(self.unread)
        if trainer.is_global_zero:
            note(f"landmarks of {counts[1]} faces in {counts[0]} frames are in {self.folder}")
        if unread and trainer.is_global_zero:
            raise ValueError(f"{len(unread)} files could not be read; the first: {unread[0]}")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Keep what is written, to be continued; of a camera it is all there is."""
        if not hasattr(self, "bar"):
            return
        self.bar.stop()
        live = trainer.datamodule.live
        if self.overlay:
            self.overlay.close(finished=live)
        for table in set(self.tables.values()):
            table.close(finished=live)
        if self.frames:
            note(f"{self.frames} frames are in {self.folder}{'' if live else '; the same command continues'}")
