"""What is shown of the progress: a line of all files, and one of the video that is being read."""

from callbacks.own_files.progress import FileProgress


def lines(progress):
    return [(task.description, task.completed, task.total) for task in progress.lines.tasks]


def test_a_finished_video_takes_its_line_with_it():
    progress = FileProgress(502, shown=False)
    for number in range(500):
        progress.begin(f"{number}.mp4", still=False, frames=2)
        progress.frame(1)
        assert lines(progress) == [("files", number, 502), (f"{number}.mp4", 1, 2)]
        progress.frame(1)
        progress.end()
    progress.end()  # a file that could not be read has not begun
    progress.begin("a.png", still=True, frames=1)
    progress.frame(3)
    progress.end()
    assert lines(progress) == [("files", 502, 502)]
    assert progress.lines.tasks[0].fields["faces"] == 3
