"""How the peers' programs measure: the median over runs, in a steady state."""
import statistics, time


def measure(name, work, passes):
    """Prints the name and the seconds that one of the passes of a run takes."""
    def run():
        t0 = time.perf_counter()
        for _ in range(passes):
            work()
        return (time.perf_counter() - t0) / passes

    # Nothing else runs in between, so that each run finds the caches as the one before left them.
    start = time.perf_counter()
    while time.perf_counter() - start < 0.5:
        run()
    times, start = [], time.perf_counter()
    while len(times) < 9 or time.perf_counter() - start < 2:
        times.append(run())
    print(name, statistics.median(times), flush=True)
