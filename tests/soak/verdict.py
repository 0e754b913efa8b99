"""Whether what was measured stayed as it was: the run in quarters, and the last of them beside the second."""

import statistics

# The first quarter fills buffers and learns; from the second on nothing may grow, but for what is kept of traffic: up
# to 2,000 events of each line and of the clients, which a short soak is still filling.
MEMORY_SLACK_KIB = 512 + 4096
MEMORY_GROWTH = 1.05
DESCRIPTORS_SLACK = 8
# A shared machine is slower at times; a leak of work would make it slower without end.
MEDIAN_GROWTH, MEDIAN_SLACK = 1.5, 0.010
P99_GROWTH, P99_SLACK = 2, 0.250


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def quarter(samples):
    times = [took for _, _, _, taken in samples for took in taken]
    return {
        "memory": max(memory for memory, _, _, _ in samples),
        "descriptors": statistics.median(descriptors for _, descriptors, _, _ in samples),
        "most": max(descriptors for _, descriptors, _, _ in samples),
        "processor": statistics.fmean(share for _, _, share, _ in samples),
        "median": percentile(times, 0.5),
        "p99": percentile(times, 0.99),
        "replies": len(times),
    }


def memory(samples):
    """How the resident memory went, in words."""
    figures = [memory for memory, _, _, _ in samples]
    if not figures:
        return "no sample of the memory"
    after, last = figures[len(figures) // 6], figures[-1]
    return f"resident memory: {figures[0]} KiB at first, {after} KiB after a sixth of the time, {last} KiB at the end"


def table(samples):
    """The rows of a table, and what grew."""
    if len(samples) < 8:
        return [], [f"only {len(samples)} samples"]
    length = len(samples) // 4
    quarters = [quarter(samples[length * index : length * (index + 1)]) for index in range(4)]
    rows = [
        "| quarter | resident memory, most | descriptors, median and most | processor | answer, median | answer, p99 | of replies |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for number, found in enumerate(quarters, 1):
        rows.append(
            f"| {number} | {found['memory']} KiB | {found['descriptors']:g}, {found['most']} | {found['processor']:.1%} "
            f"| {found['median'] * 1000:.1f} ms | {found['p99'] * 1000:.0f} ms | {found['replies']} |"
        )
    second, last = quarters[1], quarters[3]
    growth = []
    if last["memory"] > second["memory"] * MEMORY_GROWTH + MEMORY_SLACK_KIB:
        growth.append(f"memory grew from {second['memory']} to {last['memory']} KiB")
    if last["descriptors"] > second["descriptors"] + DESCRIPTORS_SLACK:
        growth.append(f"descriptors grew from {second['descriptors']:g} to {last['descriptors']:g}")
    for name, factor, slack in (("median", MEDIAN_GROWTH, MEDIAN_SLACK), ("p99", P99_GROWTH, P99_SLACK)):
        if last[name] > second[name] * factor + slack:
            growth.append(f"the {name} of answers grew from {second[name]:.3f} to {last[name]:.3f} s")
    return rows, growth
