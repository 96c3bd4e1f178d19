"""How far `predict` is with the user's own files."""

from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class FileProgress:
    """A line that counts the files, and below it one with the frames of the video that is being read.

    Args:
        files: how many there are.
        shown: whether to show anything.
    """

    def __init__(self, files: int, shown: bool) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn())
        faces = TextColumn("{task.fields[faces]} faces")
        self.lines = Progress(*columns, faces, TimeRemainingColumn(), disable=not shown)
        self._files = self.lines.add_task("files", total=files, faces=0)
        self._video: Any = None

    def start(self) -> None:
        """Show it."""
        self.lines.start()

    def stop(self) -> None:
        """Show it no more."""
        self.lines.stop()

    def begin(self, name: str, still: bool, frames: int) -> None:
        """The first frame of a file; of a video there are so many, or 0 where that is not known."""
        if not still:
            self._video = self.lines.add_task(name, total=frames or None, faces=0)

    def frame(self, faces: int) -> None:
        """A frame has been read, in which there are so many faces."""
        self.lines.update(self._files if self._video is None else self._video, faces=faces)
        if self._video is not None:
            self.lines.advance(self._video)

    def end(self) -> None:
        """The end of a file, whose line goes: of 500 videos nobody could read them all."""
        self.lines.advance(self._files)
        if self._video is not None:
            self.lines.remove_task(self._video)
            self._video = None
