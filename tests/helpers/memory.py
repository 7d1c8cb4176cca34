"""Memory of this process: how much it has, and a limit of it while something runs."""


def memory_of_process(key):
    """Bytes that Linux states of this process: VmSize, VmRSS, VmHWM."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(key))
    return int(line.split()[1]) * 1024


class MemoryLimit:
    """Bytes that may be mapped beyond what is."""

    def __init__(self, added):
        self.added = added

    def __enter__(self):
        import resource  # of POSIX alone

        self.before = resource.getrlimit(resource.RLIMIT_AS)
        size = memory_of_process("VmSize") + self.added
        resource.setrlimit(resource.RLIMIT_AS, (size, self.before[1]))

    def __exit__(self, *_):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, self.before)
