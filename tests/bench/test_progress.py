import io

from bench.progress import Progress


class Terminal(io.StringIO):
    """A double of a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A double of time."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_bar_tells_what_runs_how_much_is_done_and_what_is_left() -> None:
    clock = Clock()
    progress = Progress([60.0, 60.0], Terminal(), clock)
    progress.begin(0, "first")
    assert "0%  2 min 00 s left  1/2 first" in progress.line("")
    clock.now = 60.0
    progress.begin(1, "second")
    line = progress.line("round 1 of 10", 0.5)
    assert "75%" in line
    assert line.endswith("2/2 second: round 1 of 10")


def test_what_takes_longer_than_estimated_makes_the_rest_longer() -> None:
    clock = Clock()
    progress = Progress([100.0, 100.0], Terminal(), clock)
    progress.begin(1, "second")
    clock.now = 100.0
    as_estimated = progress.seconds_left(0.0)
    clock.now = 200.0
    assert progress.seconds_left(0.0) > 1.5 * as_estimated
    assert progress.seconds_left(1.0) == 0


def test_a_terminal_gets_a_line_that_is_drawn_over_and_a_file_one_a_scenario() -> None:
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        progress = Progress([1.0], stream)
        progress.begin(0, "first")
        progress.step("round 1 of 2", 0.5)
        progress.clear()
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert "\n" not in terminal.getvalue()
    assert file.getvalue() == "[1/1] first\n"
