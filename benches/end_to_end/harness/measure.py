"""One measured run of a command, and the figures of several."""

import dataclasses
import os
import pathlib
import statistics
import subprocess
import threading
import time

SAMPLE_SECONDS = 0.03


@dataclasses.dataclass
class Sample:
    """Wall seconds, CPU seconds and peak resident bytes of a command with all its children."""

    seconds: float
    cpu: float
    peak: int
    stdout: str


class Failed(RuntimeError):
    pass


def measure(command, log, environment=None, cwd=None, codes=(0,), stdin=None):
    """Runs `command` to its end. Its stderr goes to `log`; another exit code than `codes` is an error."""
    log = pathlib.Path(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    out = log.with_suffix(".out")
    with open(log, "wb") as errors, open(out, "wb") as answers:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=stdin or subprocess.DEVNULL,
            stdout=answers,
            stderr=errors,
            env={**os.environ, **(environment or {})},
            cwd=cwd,
        )
        watch = Watch(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = code = os.waitstatus_to_exitcode(status)
        watch.end()
    if code not in codes:
        last = log.read_text(errors="replace").strip().splitlines()[-12:]
        raise Failed(f"{' '.join(map(str, command))}\nended with {code}:\n" + "\n".join(last))
    return Sample(seconds, usage.ru_utime + usage.ru_stime, watch.peak, out.read_text(errors="replace"))


class Watch:
    """Looks now and then at how much memory a process and its children hold.

    What the kernel reports at a process's end (`ru_maxrss`) would count what the harness held when it started it.
    """

    def __init__(self, pid):
        self.pid, self.peak, self.over = pid, 0, threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self):
        while not self.over.wait(SAMPLE_SECONDS):
            held = [resident(pid) for pid in family(self.pid)]
            # What all hold now, or the most that one of them ever held.
            self.peak = max(self.peak, sum(now for now, _ in held), max(most for _, most in held))

    def end(self):
        self.over.set()
        self.thread.join()


def family(pid):
    """A process and all below it."""
    members = [pid]
    for member in members:
        try:
            for task in os.listdir(f"/proc/{member}/task"):
                members += map(int, pathlib.Path(f"/proc/{member}/task/{task}/children").read_text().split())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            pass
    return members


def resident(pid):
    """Bytes that a process holds, and the most that it held since it became this program."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(("VmRSS", "VmHWM"))}
    return sizes.get("VmRSS:", 0), sizes.get("VmHWM:", 0)


@dataclasses.dataclass
class Contender:
    """Somebody who does the work: what puts the world back before each run, and one measured run."""

    name: str
    run: object
    reset: object = lambda: None
    # Whether it is measured as often as the others; slow ones are not.
    repeats: int | None = None


@dataclasses.dataclass
class Figures:
    """All samples of one contender."""

    name: str
    samples: list = dataclasses.field(default_factory=list)

    def of(self, what):
        return [getattr(sample, what) for sample in self.samples]

    def median(self, what="seconds"):
        return statistics.median(self.of(what))

    def spread(self, what="seconds"):
        """Half the distance between the fastest and the slowest, as a share of the median."""
        values = self.of(what)
        return (max(values) - min(values)) / 2 / self.median(what) if self.median(what) else 0.0

    def raw(self):
        return {
            "seconds": self.of("seconds"),
            "cpu_seconds": self.of("cpu"),
            "peak_bytes": self.of("peak"),
            "median_seconds": self.median(),
            "spread": self.spread(),
        }


def interleave(contenders, repeats, say, warm_up):
    """Measures all contenders in turns, each round beginning with another one, after a round that does not count."""
    figures = {contender.name: Figures(contender.name) for contender in contenders}
    for turn in range(-1 if warm_up else 0, repeats):
        shift = max(turn, 0) % len(contenders)
        for contender in contenders[shift:] + contenders[:shift]:
            if contender.repeats is not None and turn >= contender.repeats:
                continue
            contender.reset()
            sample = contender.run()
            counts = "" if turn >= 0 else " (warm-up, does not count)"
            say(f"  {contender.name}: {sample.seconds:.2f} s, CPU {sample.cpu:.2f} s, {sample.peak / 1e6:.0f} MB{counts}")
            if turn >= 0:
                figures[contender.name].samples.append(sample)
    return figures
